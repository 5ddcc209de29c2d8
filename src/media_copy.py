"""Copies a file of media into the store, under its sum: in one pass, or by a reflink where the file system can."""

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from src.errors import FetchError
from src.step import CHUNK, reflink, sha256_of
from src.store import Store


def copy_in(path: Path, store: Store) -> str:
    """Copy a file into the store's media, holes left as holes; return its sha256.

    Raises FetchError when it changes meanwhile, OSError when it cannot be read or the copy not be written.
    """
    digest = hashlib.sha256()
    with store.temporary() as folder:
        made = folder / "media"
        copied = reflink(path, made)
        with (made if copied else path).open("rb", buffering=0) as reader, made.open("ab", buffering=0) as writer:
            size = os.fstat(reader.fileno()).st_size
            for start, end, hole in _extents(reader.fileno(), size):
                if hole:
                    _add_zeros(digest, end - start)
                    continue
                reader.seek(start)
                while start < end and (chunk := reader.read(min(CHUNK, end - start))):
                    digest.update(chunk)
                    if not copied:
                        os.pwrite(writer.fileno(), chunk, start)
                    start += len(chunk)
            writer.truncate(size)
        if made.stat().st_size != path.stat().st_size:
            raise FetchError(f"the media {path} changed while it was read", hint="start when it is complete")
        target = store.media / digest.hexdigest()
        target.parent.mkdir(exist_ok=True)
        if not target.is_file() or sha256_of(target) != digest.hexdigest():
            made.replace(target)
    return digest.hexdigest()


def _extents(fd: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """Give (start, end, is it a hole) for the whole of a file."""
    start = 0
    while start < size:
        try:
            data = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            # ENXIO: nothing but a hole is left; else the file system cannot tell, and all is data.
            data = size if error.errno == errno.ENXIO else start
        if data > start:
            yield start, data, True
        if data < size:
            try:
                hole = os.lseek(fd, data, os.SEEK_HOLE)
            except OSError:
                hole = size
            yield data, hole, False
            start = hole
        else:
            start = size


def _add_zeros(digest: "hashlib._Hash", count: int) -> None:
    zeros = memoryview(bytes(CHUNK))
    for start in range(0, count, CHUNK):
        digest.update(zeros[: min(CHUNK, count - start)])
