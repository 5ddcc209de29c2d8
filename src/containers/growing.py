"""Files on the volume that containers append to, read as they grow."""

import json
from collections.abc import Iterator
from pathlib import Path

from src.step import CHUNK, Record


class Growing:
    """A file that grows; what was in it at the beginning is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0

    def read(self) -> Iterator[bytes]:
        """Give what was added since the last time, in pieces."""
        try:
            with self._path.open("rb", buffering=0) as file:
                file.seek(self._at)
                while chunk := file.read(CHUNK):
                    self._at += len(chunk)
                    yield chunk
        except FileNotFoundError:  # nobody has written yet
            return


class GrowingJournal:
    """A task's journal, from where it ended before its container was started."""

    def __init__(self, path: Path) -> None:
        self._file = Growing(path)
        self._part = b""
        self.records: list[Record] = []
        """All that came."""

    def read(self) -> list[Record]:
        """Return the records that were added since the last time."""
        found = []
        for chunk in self._file.read():
            *lines, self._part = (self._part + chunk).split(b"\n")
            for line in lines:
                try:
                    found.append(json.loads(line))
                except ValueError:  # empty, or torn by a kill
                    continue
        self.records += found
        return found
