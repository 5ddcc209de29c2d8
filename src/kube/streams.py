"""Several streams at once between this machine and the volume: threads that take parts of files in order."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final, Generic, Protocol, TypeVar

from src.errors import AutopipeError

T = TypeVar("T")

STREAMS: Final = 4
PIECE: Final = 8 << 20
"""Bytes of a large file that go with one request: what is lost by a break, and what each stream has in memory."""
BUNDLE_FILES: Final = 64
BUNDLE_BYTES: Final = 4 << 20
"""How much of small files goes with one request: they are many."""
READ: Final = 1 << 20
TICK: Final = 0.2  # seconds


class GivenUpError(AutopipeError):
    """Another stream has failed."""


class Streams(Generic[T]):
    """Works off parts with several threads; the first failure ends all and is raised."""

    def __init__(self, work: Callable[[T], None]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self.failed = threading.Event()

    def run(self, parts: Iterator[T], streams: int = STREAMS) -> None:
        """Do all parts, begun in their order; raises what work raises."""

        def stream() -> None:
            try:
                while not self.failed.is_set():
                    with self._lock:
                        part = next(parts, None)
                    if part is None:
                        return
                    self._work(part)
            except BaseException:
                self.failed.set()
                raise

        with ThreadPoolExecutor(streams) as pool:
            futures = [pool.submit(stream) for _ in range(streams)]
            try:
                # A signal that comes in the moment when a wait begins is handled only at its end.
                while wait(futures, timeout=TICK).not_done:
                    pass
                errors = [error for future in futures if (error := future.exception())]
            except BaseException:
                self.failed.set()  # Ctrl-C in this thread: the others stop at their next part
                raise
        for error in errors:
            if not isinstance(error, GivenUpError):
                raise error


def pieces_of(size: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Give the (start, end) of a file's pieces from a start on."""
    for at in range(start, size, PIECE):
        yield at, min(size, at + PIECE)


class Sized(Protocol):
    """A file on its way."""

    @property
    def size(self) -> int:
        """Its bytes."""


S = TypeVar("S", bound=Sized)


def bundles_of(files: Iterable[S]) -> Iterator[list[S]]:
    """Give small files in bundles, each for one request."""
    bundle: list[S] = []
    size = 0
    for one in files:
        if bundle and (len(bundle) == BUNDLE_FILES or size + one.size > BUNDLE_BYTES):
            yield bundle
            bundle, size = [], 0
        bundle.append(one)
        size += one.size
    if bundle:
        yield bundle


def read_piece(fd: int, start: int, end: int) -> bytes:
    """Return a piece of an open local file, shorter where the file is; raises OSError."""
    parts = []
    while start < end:
        part = os.pread(fd, end - start, start)
        if not part:
            break
        parts.append(part)
        start += len(part)
    return b"".join(parts)
