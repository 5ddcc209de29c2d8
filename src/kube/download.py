"""Brings files from the volume here: several streams, large files in pieces, each file whole or not at all."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from src.errors import OutputError
from src.kube.cut import CutError
from src.kube.door import Door, Reply
from src.kube.helper import Helper
from src.kube.lines import RefusedError, raise_refused
from src.kube.streams import BUNDLE_BYTES, PIECE, READ, STREAMS, GivenUpError, Streams, bundles_of, pieces_of
from src.step import Record


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file to bring: its path on the volume, where it goes, its size in bytes and sha256 in hex."""

    path: str
    target: Path
    size: int
    sha256: str


def download(
    helper: Helper, wanted: Sequence[Wanted], scratch: Path, notify: Callable[[int], None] = lambda _: None
) -> None:
    """Bring files, each compared with its sum and then renamed to its place.

    scratch: a folder on the targets' disk for files on their way; a large one that an earlier process left there
    is gone on with. notify: called by any thread with the number of bytes that have come. Raises OutputError when
    the disk is full or a file has another sum than it should, RefusedError, CutError, StoppedError.
    """
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        for folder in {one.target.parent for one in wanted}:
            folder.mkdir(parents=True, exist_ok=True)
        broken = _bring(helper, wanted, scratch, notify)
        if broken:  # a machine on the way may have erred; if the file itself is wrong, it will be so again
            broken = _bring(helper, broken, scratch, notify)
    except OSError as error:
        raise OutputError(
            f"cannot write what comes from the volume: {error.strerror}: {error.filename or scratch}",
            hint="free some space, then give the same command again: the outputs are kept on the volume",
        ) from error
    if broken:
        raise OutputError(
            f"{broken[0].path} did not come whole: its sum is not what the step wrote down",
            details=tuple(one.path for one in broken[1:20]),
            hint="was it changed on the volume? Give the same command again",
        )


def _bring(helper: Helper, wanted: Sequence[Wanted], scratch: Path, notify: Callable[[int], None]) -> list[Wanted]:
    """Bring files; return those whose sum is wrong."""
    small = [one for one in wanted if one.size <= BUNDLE_BYTES]
    large = [one for one in wanted if one.size > BUNDLE_BYTES]
    broken: list[Wanted] = []
    streams: Streams[Callable[[], None]] = Streams(lambda part: part())
    with ExitStack() as stack:

        def parts() -> Iterator[Callable[[], None]]:
            for one in large:
                arriving = stack.enter_context(Arriving(helper, one, scratch, streams.failed, notify, broken))
                for start, end in pieces_of(one.size, arriving.hashed):
                    yield lambda arriving=arriving, start=start, end=end: arriving.bring(start, end)  # type: ignore[misc]
            for bundle in bundles_of(small):
                yield lambda bundle=bundle: _bring_bundle(helper, bundle, scratch, notify, broken)  # type: ignore[misc]

        streams.run(parts())
    return broken


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


def _bring_bundle(
    helper: Helper, bundle: list[Wanted], scratch: Path, notify: Callable[[int], None], broken: list[Wanted]
) -> None:
    contents = helper.repeat(lambda door: fetch_files(door, [one.path for one in bundle]))
    for one in bundle:
        content = contents[one.path]
        if hashlib.sha256(content).hexdigest() == one.sha256:
            made = scratch / f"{one.sha256}-{threading.get_ident()}"
            made.write_bytes(content)
            made.replace(one.target)
        else:
            broken.append(one)
        notify(one.size)


def fetch_files(door: Door, paths: Sequence[str]) -> dict[str, bytes]:
    """Return the contents of small files; raises RefusedError for one that is missing, CutError."""
    reply = door.send("POST", "/give", body=json.dumps({"paths": list(paths)}).encode())
    try:
        raise_refused(reply)
        data = memoryview(reply.read_all())
    finally:
        reply.close()
    found: dict[str, bytes] = {}
    while data:
        line = bytes(data[: 1 << 16]).partition(b"\n")[0]
        head: Record = json.loads(line)
        data = data[len(line) + 1 :]
        if "errno" in head:
            raise RefusedError(head["text"], head["errno"], path=head["path"])
        found[head["path"]] = bytes(data[: head["size"]])
        data = data[head["size"] :]
    if len(found) != len(set(paths)):
        raise CutError("the helper pod's answer was cut short", hint="give the same command again")
    return found
