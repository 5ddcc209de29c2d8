"""Takes files to the volume: several streams, large files in pieces, each file seen there whole or not at all."""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from src.errors import ConfigError
from src.kube.door import Door
from src.kube.helper import Helper
from src.kube.lines import RefusedError, raise_refused
from src.kube.streams import BUNDLE_BYTES, Streams, bundles_of, pieces_of, read_piece
from src.step import Record


@dataclass(frozen=True, kw_only=True)
class Sending:
    """A local file to take to a path of the volume; size in bytes, sha256 in hex."""

    path: str
    source: Path
    size: int
    sha256: str


def upload(
    helper: Helper, files: Sequence[Sending], notify: Callable[[int], None] = lambda _: None
) -> dict[str, Record]:
    """Take files to the volume; return the entry of each, by its path there.

    Pieces of large files that an earlier process took there are not taken again. notify: called by any thread with
    the number of bytes that are there. Raises ConfigError when a file changes meanwhile, RefusedError when the
    volume is full, CutError, StoppedError.
    """
    entries: dict[str, Record] = {}
    small = [one for one in files if one.size <= BUNDLE_BYTES]
    large = [one for one in files if one.size > BUNDLE_BYTES]
    streams: Streams[Callable[[], None]] = Streams(lambda part: part())
    with ExitStack() as stack:

        def parts() -> Iterator[Callable[[], None]]:
            for one in large:
                leaving = stack.enter_context(Leaving(helper, one, notify, entries))
                for start, end in leaving.missing():
                    yield lambda leaving=leaving, start=start, end=end: leaving.send(start, end)  # type: ignore[misc]
            for bundle in bundles_of(small):
                yield lambda bundle=bundle: entries.update(_send_bundle(helper, bundle, notify))  # type: ignore[misc]

        streams.run(parts())
    return entries


class Leaving:
    """A large file on its way to the volume."""

    def __init__(
        self, helper: Helper, sending: Sending, notify: Callable[[int], None], entries: dict[str, Record]
    ) -> None:
        self._helper = helper
        self._sending = sending
        self._notify = notify
        self._entries = entries
        self._fd = -1
        self._lock = threading.Lock()
        self._left = 0  # pieces

    def __enter__(self) -> "Leaving":
        self._fd = os.open(self._sending.source, os.O_RDONLY)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def missing(self) -> list[tuple[int, int]]:
        """Return the pieces that are not there; at least one, whose arrival completes the file."""
        there = {(one["start"], one["end"]) for one in self._helper.call("pieces", sha256=self._sending.sha256)}
        pieces = list(pieces_of(self._sending.size))
        missing = [piece for piece in pieces if piece not in there] or pieces[-1:]
        self._left = len(missing)
        self._notify(self._sending.size - sum(end - start for start, end in missing))
        return missing

    def send(self, start: int, end: int) -> None:
        """Take one piece there; the last one to arrive completes the file."""
        data = read_piece(self._fd, start, end)
        if len(data) != end - start:
            raise _changed(self._sending)
        query = urlencode({"sha256": self._sending.sha256, "at": start})
        self._helper.repeat(lambda door: post(door, f"/piece?{query}", data, self._sending.path))
        self._notify(end - start)
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._close()  # many files may follow
            self._entries[self._sending.path] = self._commit()

    def _commit(self) -> Record:
        one = self._sending
        try:
            (entry,) = self._helper.call("commit", sha256=one.sha256, size=one.size, path=one.path)
        except RefusedError as error:
            if error.number == errno.EBADMSG:
                raise _changed(one) from error
            raise
        return entry


def _send_bundle(helper: Helper, bundle: Sequence[Sending], notify: Callable[[int], None]) -> dict[str, Record]:
    try:
        entries = put_files(helper, [(one.path, one.source.read_bytes(), one.sha256) for one in bundle])
    except RefusedError as error:
        if error.number == errno.EBADMSG:
            raise _changed(next(one for one in bundle if one.path == error.path)) from error
        raise
    notify(sum(one.size for one in bundle))
    return entries


def put_files(helper: Helper, files: Sequence[tuple[str, bytes, str]]) -> dict[str, Record]:
    """Write small files, (path, content, sha256) each, with one request; return their entries by path."""
    parts = []
    for path, data, sha256 in files:
        parts += [json.dumps({"path": path, "size": len(data), "sha256": sha256}).encode(), b"\n", data]
    body = b"".join(parts)
    document = helper.repeat(lambda door: post(door, "/take", body))
    return {entry["path"]: entry for entry in document["entries"]}


def post(door: Door, target: str, data: bytes, path: str = "") -> Record:
    """Send data with one request; return the document that answers. Raises RefusedError, CutError."""
    reply = door.send("POST", target, headers={"Content-Length": str(len(data))}, body=data)
    try:
        raise_refused(reply, path)
        document: Record = json.loads(reply.read_all())
    finally:
        reply.close()
    return document


def _changed(sending: Sending) -> ConfigError:
    return ConfigError(
        f"{sending.source} was changed while it was taken to the volume", hint="give the same command again"
    )
