"""Files that Git LFS keeps elsewhere: found by their pointers, fetched by git-lfs."""

import logging
from collections.abc import Iterable
from pathlib import Path

from src.git import FETCH_SECONDS, GitFolder
from src.git_causes import Cause
from src.git_errors import GitError, explain, last_lines

log = logging.getLogger("autopipe")

POINTER = b"version https://git-lfs.github.com/spec/v1\n"
LARGEST_POINTER = 1024
"""Bytes; both from the specification of Git LFS pointers."""

SHOWN = 20


def find_pointers(tree: Path, paths: Iterable[str]) -> dict[str, int]:
    """Return which of the files are pointers, with the size in bytes of what they stand for."""
    found = {}
    for path in paths:
        file = tree / path
        if file.is_symlink() or file.stat().st_size >= LARGEST_POINTER:
            continue
        lines = file.read_bytes()
        if lines.startswith(POINTER):
            sizes = [line[5:] for line in lines.splitlines() if line.startswith(b"size ")]
            found[path] = int(sizes[0]) if sizes and sizes[0].isdigit() else 0
    return found


def pull_files(git: GitFolder, tree: Path, paths: Iterable[str]) -> None:
    """Put the files in the place of their pointers; HEAD's tree is what git-lfs goes by.

    Raises GitError that names the files when git-lfs is missing, fails, or leaves pointers.
    """
    pointers = find_pointers(tree, paths)
    if not pointers:
        return
    named = f"{len(pointers)} files" if len(pointers) > 1 else next(iter(pointers))
    log.info("getting %s from Git LFS (%.1f MB)", named, sum(pointers.values()) / 1e6)
    # Its filters are switched off in our folder till now. Without them git-lfs ends well, and does nothing.
    outcome = git.attempt("lfs", "install", "--local", "--skip-repo", "--force")
    if outcome.status == 0:
        # All of HEAD is wanted, whatever .lfsconfig or the user leaves out for clones.
        outcome = git.attempt("lfs", "pull", "--include=*", "--exclude=", "origin", timeout=FETCH_SECONDS)
    left = find_pointers(tree, pointers)
    if outcome.status:
        error = explain(outcome, git.repository)
        message, hint, cause = error.message, error.hint, error.cause
    elif left:
        message, hint, cause = (
            f"git-lfs left {len(left)} pointers",
            "look at .gitattributes and .lfsconfig",
            Cause.OTHER,
        )
    else:
        return
    files = [f"{path} ({pointers[path]} bytes)" for path in left][:SHOWN]
    more = (f"… and {len(left) - SHOWN} more",) if len(left) > SHOWN else ()
    raise GitError(message, cause=cause, hint=hint, details=(*last_lines(outcome.errors), "missing:", *files, *more))
