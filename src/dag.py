"""The DAG file as records; load_dag reads the file, parse_dag checks a text."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.errors import ConfigError

LARGEST_FILE = 10_000_000
"""Bytes."""


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A dependency: child gets the outputs of parent; probability in (0, 1] is metadata."""

    parent: str
    child: str
    probability: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one component, checked; durations in seconds, memory in bytes."""

    cpu: float | None = None
    memory: int | None = None
    gpu: int = 0
    timeout: float | None = None
    retries: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # variable -> (secret, key)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    join: bool | None = None  # None: the file says nothing, which the plan remarks on a fan-in
    optional: bool = False
    copy_input: bool = False
    shards: int = 1
    python: str | None = None
    base_image: str | None = None
    command: tuple[str, ...] = ("python", "main.py")


@dataclass(frozen=True, kw_only=True)
class Dag:
    """A checked DAG file: acyclic, every name known, every option valid."""

    path: Path  # real path of the file
    name: str
    components: tuple[str, ...]  # as written, sorted by nothing
    edges: tuple[Edge, ...]
    repository: str | None = None
    revision: str | None = None
    media: tuple[Path, ...] = ()  # absolute, not looked at; empty when the file names none
    options: Mapping[str, Options] = field(default_factory=dict)  # of components that have some
    lines: Mapping[str, int] = field(default_factory=dict)  # component -> line of its name, for messages
    warnings: tuple[str, ...] = ()  # "file:line: text"

    def options_of(self, component: str) -> Options:
        """Return the options of a component, the defaults where the file gives none."""
        return self.options.get(component, Options())


def load_dag(path: Path) -> Dag:
    """Read and check a DAG file.

    Raises ConfigError when the file is missing, no regular file, larger than 10 MB, not UTF-8, or wrong; the
    problems of its content all at once, with their lines.
    """
    text = _read_text(path)
    return parse_dag(text, Path(os.path.realpath(path)))


def parse_dag(text: str, path: Path) -> Dag:
    """Check the text of a DAG file; pure.

    path: absolute; its name begins each message, and relative paths in the text are relative to its folder.
    Raises ConfigError with all problems at once: one is the message itself, more are its details, each
    "file:line: what; what to write".
    """
    from src.dagfile.parse import read_dag  # it imports yaml, which --help has no use for, and these records

    return read_dag(text, path)


def _read_text(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(f"the DAG file {path} is a folder", hint=_name_file_in(path))
        if not stat.S_ISREG(mode):
            raise ConfigError(f"the DAG file {path} is not a regular file", hint="write the DAG into a file")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"no such DAG file: {path}", hint=_name_file_in(path.parent)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"cannot read the DAG file {path}: {reason}"
        raise ConfigError(message, hint="give -i a file that can be read") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"the DAG file {path} is larger than 10 MB", hint="give -i the YAML file, not the media")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        kind = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "text in another encoding, or no text"
        raise ConfigError(f"{path.name}:{line}: is {kind}", hint="save the file as UTF-8") from error


def _name_file_in(folder: Path) -> str:
    """Return a hint that names the only YAML file in a folder, where there is one."""
    found = sorted(folder.glob("*.y*ml")) if folder.is_dir() else []
    return f"give -i {found[0]}" if len(found) == 1 else "give -i the path of a DAG file"
