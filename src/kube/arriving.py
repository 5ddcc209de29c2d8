"""A large file on its way from the volume: its pieces come side by side, and what is here already is gone on with."""

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from src.kube.cut import CutError
from src.kube.door import Door, Reply
from src.kube.helper import Helper
from src.kube.lines import raise_refused
from src.kube.streams import PIECE, READ, STREAMS, GivenUpError


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file to bring: its path on the volume, where it goes, its size in bytes and sha256 in hex."""

    path: str
    target: Path
    size: int
    sha256: str


class Arriving:
    """A large file on its way, its sum made in order while its pieces come side by side."""

    def __init__(
        self,
        helper: Helper,
        wanted: Wanted,
        scratch: Path,
        failed: threading.Event,
        notify: Callable[[int], None],
        broken: list[Wanted],
    ) -> None:
        self._helper = helper
        self._wanted = wanted
        self._failed = failed
        self._notify = notify
        self._broken = broken
        self._made = scratch / wanted.sha256
        self._fd = -1
        self._digest = hashlib.sha256()
        self._turn = threading.Condition()
        self._tag = ""
        self.hashed = 0
        """Bytes from the beginning that are here and in the sum."""

    def __enter__(self) -> "Arriving":
        self._fd = os.open(self._made, os.O_RDWR | os.O_CREAT, 0o666)
        # An earlier process had at most a piece a stream beyond what was whole.
        whole = max(0, min(os.fstat(self._fd).st_size, self._wanted.size) - STREAMS * PIECE) // PIECE * PIECE
        while self.hashed < whole:
            chunk = os.pread(self._fd, READ, self.hashed)
            self._digest.update(chunk)
            self.hashed += len(chunk)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def bring(self, start: int, end: int) -> None:
        """Bring one piece; the last one to come finishes the file."""
        parts = self._helper.repeat(lambda door: self._fetch(door, start, end))
        at = start
        for part in parts:
            at += _write(self._fd, part, at)
        with self._turn:
            while self.hashed != start:
                self._turn.wait(0.5)
                if self._failed.is_set():
                    raise GivenUpError("another stream has failed")
        for part in parts:
            self._digest.update(part)
        with self._turn:
            self.hashed = end
            self._turn.notify_all()
        self._notify(end - start)
        if end == self._wanted.size:
            self._finish()

    def _fetch(self, door: Door, start: int, end: int) -> list[bytes]:
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if self._tag:
            headers["If-Match"] = self._tag
        reply = door.send("GET", f"/file?{urlencode({'path': self._wanted.path})}", headers=headers)
        try:
            raise_refused(reply, self._wanted.path)
            self._tag = reply.headers.get("etag", "")
            return _read(reply, end - start)
        finally:
            reply.close()

    def _finish(self) -> None:
        if self._digest.hexdigest() != self._wanted.sha256:
            self._made.unlink()
            self._broken.append(self._wanted)
        else:
            os.ftruncate(self._fd, self._wanted.size)  # what an earlier process left may have been longer
            self._made.replace(self._wanted.target)
        self._close()  # many files may follow


def _read(reply: Reply, size: int) -> list[bytes]:
    parts = []
    while size:
        part = reply.read(min(READ, size))
        if not part:
            raise CutError("a file was cut short on its way", hint="give the same command again")
        parts.append(part)
        size -= len(part)
    return parts


def _write(fd: int, data: bytes, at: int) -> int:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, at)
        view, at = view[count:], at + count
    return len(data)
