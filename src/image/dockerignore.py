"""What a .dockerignore leaves of a folder, by the rules of the docker command; pure but for listing the folder.

Source: docs.docker.com, "Dockerfile reference", .dockerignore: patterns are Go's filepath.Match with `**`, matched
against paths from the folder's root; the last one that matches counts; `!` makes an exception.
"""

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from src.errors import FetchError
from src.step import NEVER

_SET_OPERATION = re.compile(r"[\[&|~]")
"""What Python may read as an operation on sets."""


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One line of the file."""

    text: str
    exception: bool  # what it matches is kept
    regex: "re.Pattern[str]"


def kept_files(folder: Path, dockerignore: str) -> Iterator[Path]:
    """Give the files and links of a folder that its .dockerignore keeps, in no order; never .git and __pycache__.

    Pipes, sockets and devices are left out too. Raises FetchError for a pattern that Docker refuses, OSError for a
    folder that cannot be read.
    """
    yield from _walk(folder, "", parse_patterns(dockerignore))


def parse_patterns(dockerignore: str) -> list[Pattern]:
    """Return the patterns of a file's text; raises FetchError with the line of one that Docker refuses."""
    patterns = []
    for number, line in enumerate(dockerignore.removeprefix("\ufeff").splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        text = line.strip()
        exception = text.startswith("!")
        text = text.removeprefix("!").strip() if exception else text
        cleaned = posixpath.normpath(text).lstrip("/") if text else ""
        try:
            if not cleaned:
                raise re.error("there is no pattern")
            regex = re.compile(_translate(cleaned))
        except re.error as error:
            raise FetchError(
                f".dockerignore:{number}: {line.strip()} is no pattern: {error}",
                hint="write it as docker build takes it: *.log, data/**, !keep.txt",
            ) from error
        patterns.append(Pattern(text=cleaned, exception=exception, regex=regex))
    return patterns


def _translate(pattern: str) -> str:
    """Return the regular expression of a pattern; raises re.error for a set that is not closed."""
    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*" and pattern[at : at + 1] == "*":
            at += 1
            if pattern[at : at + 1] == "/":
                at += 1
            out.append("(?:.*/)?" if at < len(pattern) else ".*")
        elif char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\" and at < len(pattern):
            out.append(re.escape(pattern[at]))
            at += 1
        elif char == "[":
            end = _end_of_set(pattern, at)
            out.append("[" + _SET_OPERATION.sub(r"\\\g<0>", pattern[at:end]) + "]")
            at = end + 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _end_of_set(pattern: str, start: int) -> int:
    at = start + (pattern[start : start + 1] == "^")
    while at < len(pattern) and (pattern[at] != "]" or at == start):
        at += 2 if pattern[at] == "\\" else 1
    if at >= len(pattern):
        raise re.error("[ is not closed")
    return at


def is_dropped(path: str, patterns: list[Pattern]) -> bool:
    """Whether a path from the folder's root, or a folder above it, is dropped."""
    parts = path.split("/")
    ends = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    dropped = False
    for pattern in patterns:
        # A pattern counts only where it would change what those before it said.
        if pattern.exception == dropped and any(pattern.regex.fullmatch(end) for end in reversed(ends)):
            dropped = not pattern.exception
    return dropped


def _walk(folder: Path, inner: str, patterns: list[Pattern]) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name not in NEVER]
    for entry in found:
        path = f"{inner}{entry.name}"
        gone = is_dropped(path, patterns)
        if entry.is_dir(follow_symlinks=False):
            # As in Docker, a dropped folder is looked into only for an exception that begins with its name.
            if not gone or any(one.exception and f"{one.text}/".startswith(f"{path}/") for one in patterns):
                yield from _walk(Path(entry.path), f"{path}/", patterns)
        elif not gone and (entry.is_symlink() or entry.is_file()):
            yield Path(entry.path)
