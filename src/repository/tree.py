"""A commit's files as a tree, and the components in it; pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

PLACES = ("", "components/", "component/", "src/")
"""Where components lie in a repository, the first place first."""

PROGRAMS = ("main.py", "Dockerfile")
"""A component has one of them."""

LINK, FOLDER, SUBMODULE = "120000", "040000", "160000"
"""Modes of git's trees; the others are files."""

EXECUTABLE = "100755"

_LONGEST_CHAIN = 40


class LinkError(Exception):
    """A link of a tree that leads out of it, or in a circle; the link's path is its text."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file, link, folder or submodule of a tree."""

    mode: str
    oid: str


@dataclass(frozen=True, kw_only=True)
class Tree:
    """All entries by path, "/" between parts, folders included; read_link gives where the link of an id leads."""

    entries: Mapping[str, Entry]
    read_link: Callable[[str], str]

    def link_at(self, path: str) -> str | None:
        """Return where the link at a path leads, None when there is no link."""
        entry = self.entries.get(path)
        return self.read_link(entry.oid) if entry and entry.mode == LINK else None

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder at a path, the root included."""
        return path == "" or (path in self.entries and self.entries[path].mode == FOLDER)

    def is_submodule(self, path: str) -> bool:
        """Whether there is a submodule at a path."""
        return path in self.entries and self.entries[path].mode == SUBMODULE

    def below(self, folder: str) -> Iterator[tuple[str, Entry]]:
        """Give the files, links and submodules below a folder, by their whole paths."""
        for path, entry in self.entries.items():
            if path.startswith(f"{folder}/") and entry.mode != FOLDER:
                yield path, entry


def parse_tree(listing: bytes) -> dict[str, Entry]:
    """Parse what `git ls-tree -r -t -z` prints; names that are no UTF-8 survive as surrogates."""
    entries = {}
    for line in listing.split(b"\0")[:-1]:
        about, _, path = line.partition(b"\t")
        mode, _, oid = about.decode().split(" ")
        entries[path.decode("utf-8", "surrogateescape")] = Entry(mode=mode, oid=oid)
    return entries


def follow(path: str, link_at: Callable[[str], str | None]) -> str:
    """Return where a path of a tree ends when its links are followed; "" is the root.

    Raises LinkError for a link that leads out of the tree or is absolute, and for a circle.
    """
    todo, done, link, hops = path.split("/")[::-1], list[str](), path, 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                raise LinkError(link)
            done.pop()
            continue
        done.append(part)
        target = link_at("/".join(done))
        if target is None:
            continue
        link, hops = "/".join(done), hops + 1
        if target.startswith("/") or hops > _LONGEST_CHAIN:
            raise LinkError(link)
        done.pop()
        todo.extend(target.split("/")[::-1])
    return "/".join(done)


def find_folder(tree: Tree, name: str) -> str | None:
    """Return the folder of a component: the first with a program in it, else the first of that name, else None.

    Raises LinkError when there is no folder, but a link that leaves the repository.
    """
    folders, broken = [], []
    for place in PLACES:
        try:
            end = follow(place + name, tree.link_at)
        except LinkError as error:
            broken.append(error)
            continue
        if end and tree.is_folder(end):
            folders.append(end)
    if broken and not folders:
        raise broken[0]
    return next((folder for folder in folders if has_program(tree, folder)), folders[0] if folders else None)


def has_program(tree: Tree, folder: str) -> bool:
    """Whether a folder has what makes it a component."""
    return any(f"{folder}/{program}" in tree.entries for program in PROGRAMS)


def list_components(tree: Tree) -> list[str]:
    """Return the paths of all folders that look like components, and of the links to some."""
    found = {path.rpartition("/")[0] for path in tree.entries if path.rpartition("/")[2] in PROGRAMS} - {""}
    links = {path for path, entry in tree.entries.items() if entry.mode == LINK and f"{path}/".count("/") <= 2}
    return sorted(found | links)


def explain_unfit(tree: Tree, folder: str) -> str:
    """Return why a folder's content cannot be a component; empty when it can."""
    entries = {path[len(folder) + 1 :]: entry for path, entry in tree.below(folder)}
    inner = Tree(entries=entries, read_link=tree.read_link)
    for path, entry in entries.items():
        if entry.mode == SUBMODULE:
            return f"{folder}/{path} is a submodule, which is not fetched: put the files themselves there"
        if any(part.lower() == ".git" for part in path.split("/")):
            return f"{folder}/{path}: nothing in a component may be called .git"
        if entry.mode == LINK:
            try:
                follow(path, inner.link_at)
            except LinkError:
                target = tree.read_link(entry.oid)
                return f"the link {folder}/{path} -> {target} leaves the component, or leads in a circle"
    return ""
