"""The DAG file as records; load_dag reads the file, parse_dag checks a text."""

import os
import stat
from pathlib import Path

from src.dagfile.records import Dag, Edge, Options
from src.errors import ConfigError

__all__ = ["Dag", "Edge", "Options", "load_dag", "parse_dag"]

LARGEST_FILE = 10_000_000
"""Bytes."""


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
    from src.dagfile.parse import read_dag  # it imports yaml, which --help has no use for

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
