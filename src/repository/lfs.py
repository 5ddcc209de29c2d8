"""Files that Git LFS keeps elsewhere: found by their pointers, fetched by git-lfs, and compared with them."""

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from src.repository.causes import Cause
from src.repository.door import FETCH_SECONDS, GitFolder
from src.repository.errors import GitError, Outcome, explain, last_lines

log = logging.getLogger("autopipe")

LARGEST_POINTER = 1024
"""Bytes; this and the format from the specification of Git LFS pointers, version 1."""

_FIRST_LINE = b"version https://git-lfs.github.com/spec/v1\n"
_VALUES = re.compile(rb"^oid sha256:([0-9a-f]{64})\nsize (\d+)\n", re.MULTILINE)

SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """What a pointer says of its file."""

    sha256: str  # empty: it says nothing, and no file can be what it means
    size: int


def find_pointers(tree: Path, paths: Iterable[str]) -> dict[str, Pointer]:
    """Return which of the files are pointers."""
    found = {}
    for path in paths:
        file = tree / path
        if file.stat().st_size >= LARGEST_POINTER:
            continue
        content = file.read_bytes()
        if content.startswith(_FIRST_LINE):
            match = _VALUES.search(content)
            found[path] = Pointer(sha256=match[1].decode() if match else "", size=int(match[2]) if match else 0)
    return found


def pull_files(git: GitFolder, tree: Path, paths: Iterable[str]) -> None:
    """Put the files in the place of their pointers; HEAD's tree is what git-lfs goes by.

    paths: files, no links, relative to tree. Raises GitError that names the files when git-lfs is missing, fails,
    leaves pointers, or has written something else.
    """
    pointers = find_pointers(tree, paths)
    if not pointers:
        return
    named = f"{len(pointers)} files" if len(pointers) > 1 else next(iter(pointers))
    log.info("getting %s from Git LFS (%.1f MB)", named, sum(pointer.size for pointer in pointers.values()) / 1e6)
    outcome = _pull(git)
    # On a full disk it may cut a file short, and end well: its status is not enough.
    wrong = [path for path, pointer in pointers.items() if not _is_whole(tree / path, pointer)]
    if wrong and not outcome.status:
        # Or what was kept of an earlier fetch is damaged, which git-lfs does not look at.
        for path in wrong:
            if oid := pointers[path].sha256:
                (git.folder / "lfs/objects" / oid[:2] / oid[2:4] / oid).unlink(missing_ok=True)
            (tree / path).unlink()
        outcome = _pull(git)
        wrong = [path for path in wrong if not _is_whole(tree / path, pointers[path])]
    if outcome.status:
        error = explain(outcome, git.repository)
        raise _name_files(error, wrong or list(pointers), pointers)
    if wrong:
        details = last_lines(outcome.errors)
        message = f"Git LFS did not bring {len(wrong)} of the files of {git.repository.url}"
        hint = "is there room on the disk? else look at .gitattributes and .lfsconfig in the repository"
        raise _name_files(GitError(message, cause=Cause.LFS_OBJECT, hint=hint, details=details), wrong, pointers)


def _pull(git: GitFolder) -> Outcome:
    # Its filters are switched off in our folder till now. Without them git-lfs ends well, and does nothing.
    outcome = git.attempt("lfs", "install", "--local", "--skip-repo", "--force")
    if outcome.status:
        return outcome
    # All of HEAD is wanted, whatever .lfsconfig or the user leaves out for clones.
    return git.attempt("lfs", "pull", "--include=*", "--exclude=", "origin", timeout=FETCH_SECONDS)


def _is_whole(file: Path, pointer: Pointer) -> bool:
    if not file.exists() or file.stat().st_size != pointer.size:
        return False
    with file.open("rb") as content:
        sha256 = hashlib.sha256()
        while block := content.read(1 << 20):
            sha256.update(block)
    return sha256.hexdigest() == pointer.sha256


def _name_files(error: GitError, paths: list[str], pointers: Mapping[str, Pointer]) -> GitError:
    files = [f"{path} ({pointers[path].size} bytes)" for path in paths[:SHOWN]]
    more = [f"… and {len(paths) - SHOWN} more"] if len(paths) > SHOWN else []
    details = (*error.details, "missing:", *files, *more)
    return GitError(error.message, cause=error.cause, hint=error.hint, details=details)
