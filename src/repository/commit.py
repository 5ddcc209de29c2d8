"""The components of one commit, brought into the fetched store: found in its tree, checked, written, moved there."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.errors import FetchError
from src.repository.causes import FINAL
from src.repository.checkout import finish_folder, take_folders, wanted_entries, write_files
from src.repository.door import GitFolder
from src.repository.errors import GitError
from src.repository.folders import FetchedStore
from src.repository.lfs import pull_files
from src.repository.mirror import Workspace
from src.repository.objects import get_blobs, get_commit, read_blobs
from src.repository.revision import Target
from src.repository.tree import (
    LINK,
    PLACES,
    SUBMODULE,
    Entry,
    LinkError,
    Tree,
    explain_unfit,
    find_folder,
    has_program,
    list_components,
    parse_tree,
)

log = logging.getLogger("autopipe")


@dataclass(frozen=True, kw_only=True)
class Want:
    """A component that a DAG file asks for."""

    name: str
    line: str = ""  # "file:line" of its name
    has_command: bool = False  # the file says how to run it, so that it needs no main.py
    has_local: bool = False  # there is a folder of the user's, should the commit have none


class Links:
    """Where links lead, by the id of their blob; read when asked for, or many at once."""

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._known: dict[str, str] = {}

    def load(self, oids: Iterable[str]) -> None:
        """Fetch and read the blobs that are not known yet."""
        new = [oid for oid in oids if oid not in self._known]
        if new:
            get_blobs(self._work, new)
            contents = read_blobs(self._work, new)
            self._known |= {oid: content.decode("utf-8", "surrogateescape") for oid, content in contents.items()}

    def read(self, oid: str) -> str:
        """Return where a link leads."""
        self.load([oid])
        return self._known[oid]


def fetch_commit(work: Workspace, target: Target, wants: Sequence[Want], store: FetchedStore) -> None:
    """Bring the wanted components of a commit into the store, or the note that it has no such one.

    Raises FetchError: for a component that neither the commit nor the user has, or that is not fit, all of them at
    once; and GitError.
    """
    with store.open() as spare:
        place, made = spare / "tree", spare / "made"
        made.mkdir()
        place.mkdir()
        try:
            git, folders, entries = _write(work, target, wants, place, partial=True)
        except GitError as error:
            if error.cause in FINAL:
                raise
            # The server does not do what it said, or the mirror is damaged: once more, needing neither's help.
            log.debug("once more without the mirror: %s: %s", error, " | ".join(error.details))
            work.reset(borrow=False)
            place = spare / "tree2"
            place.mkdir()
            git, folders, entries = _write(work, target, wants, place, partial=False)
        pull_files(git, place, [path for path, entry in entries.items() if entry.mode != LINK])
        for name, folder in take_folders(place, folders, made).items():
            start = len(folders[name]) + 1
            inner = {path[start:]: entry for path, entry in entries.items() if path.startswith(f"{folders[name]}/")}
            finish_folder(folder, inner)
            store.add(target.commit, name, folder)
        for want in wants:
            if want.name not in folders:
                store.add_absent(target.commit, want.name)


def _write(
    work: Workspace, target: Target, wants: Sequence[Want], place: Path, *, partial: bool
) -> tuple[GitFolder, dict[str, str], dict[str, Entry]]:
    """Fetch and write; return the git folder to go on with, the folder of each component, and what was written."""
    get_commit(work, target, partial=partial)
    links = Links(work)
    listing = work.git.run("ls-tree", "-r", "-t", "-z", "--full-tree", target.commit)
    tree = Tree(entries=parse_tree(listing), read_link=links.read)
    at = f"{work.git.repository.url} at {target.commit[:12]}"
    folders = _find_folders(tree, wants, at)
    entries = wanted_entries(tree, folders.values())
    get_blobs(work, [entry.oid for entry in entries.values() if entry.mode != SUBMODULE])
    links.load([entry.oid for entry in entries.values() if entry.mode == LINK])
    unfit = {want: explain_unfit(tree, folders[want.name]) for want in wants if want.name in folders}
    _refuse({want: reason for want, reason in unfit.items() if reason}, at)
    return write_files(work, entries, place), folders, entries


def _find_folders(tree: Tree, wants: Sequence[Want], at: str) -> dict[str, str]:
    """Return the folder of each wanted component that is in the tree; raise FetchError for the others' faults."""
    folders, problems, hint = {}, {}, ""
    for want in wants:
        try:
            folder = find_folder(tree, want.name)
        except LinkError as error:
            problems[want] = f"the link {error} -> {tree.link_at(str(error))} leaves the repository"
            continue
        if any(tree.is_submodule(place + want.name) for place in PLACES) and folder is None:
            problems[want] = "it is a submodule, which is not fetched: put the files themselves there"
        elif folder is None and not want.has_local:
            problems[want] = f"not there; looked for {', '.join(place + want.name for place in PLACES)}"
            hint = hint or _suggest(tree, want.name)
        elif folder is not None and not want.has_command and not has_program(tree, folder):
            problems[want] = f"its folder {folder} has no main.py and no Dockerfile"
        elif folder is not None:
            folders[want.name] = folder
    _refuse(problems, at, hint)
    return folders


def _suggest(tree: Tree, name: str) -> str:
    import difflib  # only here

    paths = list_components(tree)
    names = {path.rpartition("/")[2]: path for path in paths}
    if name in names:
        return f"there is {names[name]}: move it to one of the places above"
    lower = {known.lower(): known for known in names}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    shown = ", ".join(sorted(names)[:10])
    return f"there is {shown}" if shown else "is this the right repository, and the right revision?"


def _refuse(problems: dict[Want, str], at: str, hint: str = "") -> None:
    """Raise FetchError when there are problems."""
    if not problems:
        return
    lines = tuple(f"{want.name}{f' ({want.line})' if want.line else ''}: {reason}" for want, reason in problems.items())
    raise FetchError(
        f"component {lines[0]}, in {at}" if len(lines) == 1 else f"{len(lines)} components cannot be taken from {at}",
        details=() if len(lines) == 1 else lines,
        hint=hint or "change it in the repository, or name another `revision:` in the DAG file",
    )
