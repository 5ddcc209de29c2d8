"""The wanted folders of a commit, written to disk without any of git's own files; complete, or not at all."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from src.repository.door import GitFolder
from src.repository.mirror import Workspace
from src.repository.tree import EXECUTABLE, LINK, Entry, Tree


def wanted_entries(tree: Tree, folders: Iterable[str]) -> dict[str, Entry]:
    """Return the files and links of the folders, and the files above them that say how git is to treat them."""
    entries: dict[str, Entry] = {}
    for folder in folders:
        entries.update(tree.below(folder))
        parts = folder.split("/")
        above = ["/".join([*parts[:count], ".gitattributes"]) for count in range(len(parts))]
        for path in [".lfsconfig", *above]:
            if path in tree.entries and tree.entries[path].mode != LINK:
                entries[path] = tree.entries[path]
    return entries


def write_files(work: Workspace, entries: Mapping[str, Entry], place: Path) -> GitFolder:
    """Write files, whose blobs are here, into place, an empty folder; return the git folder that sees just these.

    Raises GitError.
    """
    git = replace(work.git, work_tree=place)
    lines = (f"{entry.mode} {entry.oid}\t{path}\0" for path, entry in entries.items())
    git.run("update-index", "-z", "--index-info", stdin="".join(lines).encode("utf-8", "surrogateescape"))
    # A commit that has nothing but these: git-lfs then sees no more than what is wanted, and all of it is here.
    tree = git.run("write-tree").decode().strip()
    commit = git.run("commit-tree", tree, "-m", "wanted").decode().strip()
    (git.folder / "HEAD").write_text(f"{commit}\n")
    git.run("checkout-index", "--all", "--force", "--quiet")
    return git


def finish_folder(place: Path, entries: Mapping[str, Entry]) -> None:
    """Give each file its mode and bring all to the disk, for good.

    Modes are the same whatever the umask: images run as another user. Nobody may write, since an edit there would
    change what a commit means, and be gone with the next.
    """
    for path, entry in entries.items():
        if entry.mode == LINK:
            continue
        (place / path).chmod(0o555 if entry.mode == EXECUTABLE else 0o444)
        _sync(place / path)
    for folder, _, _ in os.walk(place):
        Path(folder).chmod(0o755)
        _sync(Path(folder))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def take_folders(place: Path, folders: Mapping[str, str], into: Path) -> dict[str, Path]:
    """Move the folder of each name to into/<name>; one that several names share, or lies in another's, is copied."""
    made = {}
    for name, folder in folders.items():
        others = [other for key, other in folders.items() if key != name]
        shared = any(f"{other}/".startswith(f"{folder}/") or f"{folder}/".startswith(f"{other}/") for other in others)
        if shared:
            shutil.copytree(place / folder, into / name, symlinks=True)
        else:
            (place / folder).rename(into / name)
        made[name] = into / name
    return made
