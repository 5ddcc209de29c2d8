"""Paths that components can be given: they split what they are told at blanks and cut it at dots."""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9_/-]+")


@contextlib.contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
    """Give a path to folder of letters, digits, -, _ and / only: itself, or a link to it while the block runs."""
    if _PLAIN.fullmatch(str(folder)):
        yield folder
        return
    link = plain_link(folder)
    link.symlink_to(folder)
    try:
        yield link
    finally:
        link.unlink()


def plain_link(folder: Path) -> Path:
    """Return where plain_path puts its link; the name follows from the folder's, so that a dead run's is found."""
    name = f"autopipe-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    place = tempfile.gettempdir()
    return Path(place if _PLAIN.fullmatch(place) else "/tmp", name)  # noqa: S108  # no name that can be guessed
