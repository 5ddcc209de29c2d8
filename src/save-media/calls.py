"""The files on the volume, and what the helper pod's server can do with them; see serve.py.

An entry is {path, size, mtime_ns, inode, sha256?}: size in bytes, mtime in nanoseconds since the epoch.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Tuple, Union

Record = Dict[str, Any]
Alive = Callable[[], None]
CHUNK = 1 << 20
INCOMING = ".autopipe/incoming"
FOLLOWED = (".autopipe/steps", ".autopipe/logs")


class Refused(Exception):  # noqa: N818  # an answer, not a failure of ours
    """The request cannot be met; text says why, number is an errno, path the file that it is about."""

    def __init__(self, text: str, number: int = 0, status: int = 409, path: str = "") -> None:
        super().__init__(text)
        self.document = {"errno": number, "text": text, "path": path}
        self.status = status


class Volume:
    """The files below a folder; paths are relative to it and never lead out of it."""

    def __init__(self, root: Path, media: Path) -> None:
        self.root = root
        self.media = media

    def place(self, path: str, root: Optional[Path] = None) -> Path:
        """Return where a path of a request is."""
        if not path or path.startswith("/") or "\0" in path or {"", ".", ".."} & set(path.split("/")):
            raise Refused(f"not a path on the volume: {path!r}", errno.EINVAL)
        return (root or self.root) / path

    def open(self, path: str, root: Optional[Path] = None) -> BinaryIO:
        """Open a regular file for reading; links are not followed."""
        fd = os.open(str(self.place(path, root)), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Refused(f"not a file: {path}", errno.EINVAL)
        return os.fdopen(fd, "rb", buffering=0)

    def entry(self, path: str) -> Record:
        """Return a file's entry, without its sum."""
        status = os.lstat(str(self.place(path)))
        return {"path": path, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}

    def make_folder(self, place: Path) -> None:
        """Make a folder, and those above it, that any user may write into: steps run as whom their image says."""
        if place != self.root and not place.is_dir():
            self.make_folder(place.parent)
            with contextlib.suppress(FileExistsError):
                place.mkdir()
                place.chmod(0o777)

    def incoming(self, name: str) -> Path:
        """Return where a file is while it arrives."""
        folder = self.root / INCOMING
        self.make_folder(folder)
        return folder / name

    def publish(self, made: Path, path: str) -> Record:
        """Let a complete file be seen under its path; return its entry."""
        place = self.place(path)
        self.make_folder(place.parent)
        made.chmod(0o666)  # else another user could not link to it, where links are protected
        made.replace(place)
        return self.entry(path)


def sum_of(file: BinaryIO, alive: Alive) -> str:
    """Return the sha256 of what is left of an open file."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
    while True:
        count = file.readinto(buffer)  # type: ignore[attr-defined]
        if not count:
            return digest.hexdigest()
        digest.update(buffer[:count])
        alive()


# --- What /call does: each takes the volume, the arguments and a sign of life, and gives lines ---------------------


def hello(_volume: Volume, _arguments: Record, _alive: Alive) -> Iterator[Record]:
    """Say who we are: {user, python}."""
    yield {"user": os.getuid(), "python": sys.version.split()[0]}


def folders(volume: Volume, arguments: Record, _alive: Alive) -> Iterator[Record]:
    """Make the folders of paths."""
    for path in arguments["paths"]:
        volume.make_folder(volume.place(path))
        yield {"path": path}


def remove(volume: Volume, arguments: Record, _alive: Alive) -> Iterator[Record]:
    """Remove the files of paths that are there."""
    for path in arguments["paths"]:
        with contextlib.suppress(FileNotFoundError):
            volume.place(path).unlink()
            yield {"path": path}


def probe(volume: Volume, arguments: Record, _alive: Alive) -> Iterator[Record]:
    """Write size bytes, read them back and remove them; give {free}, in bytes."""
    place, data = volume.incoming(secrets.token_hex(8)), secrets.token_bytes(arguments["size"])
    try:
        with place.open("xb", buffering=0) as file:
            write_all(file.fileno(), data, 0)
            os.fsync(file.fileno())
        if place.read_bytes() != data:
            raise Refused("what was written is not what is read", errno.EIO)
    finally:
        with contextlib.suppress(FileNotFoundError):
            place.unlink()
    room = os.statvfs(str(volume.root))
    yield {"free": room.f_bavail * room.f_frsize}


def list_files(volume: Volume, arguments: Record, _alive: Alive) -> Iterator[Record]:
    """Give the entry of every file below the folders of paths; what is not there has none."""
    for path in arguments["paths"]:
        yield from _below(volume, path)


def _below(volume: Volume, path: str) -> Iterator[Record]:
    try:
        found = sorted(os.scandir(str(volume.place(path))), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        inner = path + "/" + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _below(volume, inner)
        elif entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):  # a step is at work there
                yield volume.entry(inner)


def sums(volume: Volume, arguments: Record, alive: Alive) -> Iterator[Record]:
    """Give the entries of paths with their sums, without those that are missing."""
    for path in arguments["paths"]:
        with contextlib.suppress(FileNotFoundError):
            with volume.open(path) as file:
                sha256 = sum_of(file, alive)
            yield dict(volume.entry(path), sha256=sha256)


def pieces(volume: Volume, arguments: Record, _alive: Alive) -> Iterator[Record]:
    """Give the pieces of a large file that have arrived, {start, end}."""
    for start, end in arrived(volume, arguments["sha256"]):
        yield {"start": start, "end": end}


def arrived(volume: Volume, sha256: str) -> List[Tuple[int, int]]:
    """Return the (start, end) of the pieces that have arrived."""
    try:
        lines = volume.incoming(hex_sum(sha256) + ".have").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return sorted((int(start), int(end)) for start, end in (line.split() for line in lines))


def commit(volume: Volume, arguments: Record, alive: Alive) -> Iterator[Record]:
    """Publish a large file whose pieces have all arrived: check its sum, give its entry."""
    sha256, size, path = hex_sum(arguments["sha256"]), arguments["size"], arguments["path"]
    made, done = volume.incoming(sha256), 0
    if made.exists():
        for start, end in arrived(volume, sha256):
            done = max(done, end) if start <= done else done
        if done < size:
            raise Refused(f"incomplete: {done} of {size} bytes", errno.EAGAIN)
    with (made if made.exists() else volume.place(path)).open("rb", buffering=0) as file:
        found = sum_of(file, alive)
        os.fsync(file.fileno())  # a network disk may say only now that it is full
    if found == sha256 and made.exists():
        volume.publish(made, path)
    with contextlib.suppress(FileNotFoundError):
        volume.incoming(sha256 + ".have").unlink()
    if found != sha256:
        with contextlib.suppress(FileNotFoundError):
            made.unlink()
        raise Refused(f"its sum is {found}", errno.EBADMSG)
    yield dict(volume.entry(path), sha256=sha256)


def copy(volume: Volume, arguments: Record, alive: Alive) -> Iterator[Record]:
    """Copy the file `name` of the image's media to path; give its entry with its sum."""
    made, digest = volume.incoming(secrets.token_hex(8)), hashlib.sha256()
    try:
        with volume.open(arguments["name"], volume.media) as source, made.open("xb", buffering=0) as target:
            for chunk in iter(lambda: source.read(CHUNK), b""):
                digest.update(chunk)
                write_all(target.fileno(), chunk, None)
                alive()
            os.fsync(target.fileno())
        yield dict(volume.publish(made, arguments["path"]), sha256=digest.hexdigest())
    finally:
        with contextlib.suppress(FileNotFoundError):
            made.unlink()


def grown(volume: Volume, arguments: Record, alive: Alive) -> Iterator[Record]:
    """Give what journals and logs have beyond offsets, {path: bytes}, as {path, at, data}, up to limit bytes in all.

    data is text in which bytes that are no UTF-8 are lone surrogates. A file that became shorter is given anew.
    """
    left = arguments["limit"]
    for folder in FOLLOWED:
        for entry in _below(volume, folder):
            at = arguments["offsets"].get(entry["path"], 0)
            if at == entry["size"] or not left:
                continue
            at = at if at < entry["size"] else 0
            with contextlib.suppress(FileNotFoundError), volume.open(entry["path"]) as file:
                file.seek(at)
                data = file.read(min(CHUNK // 4, left))
                while data:
                    yield {"path": entry["path"], "at": at, "data": data.decode("utf-8", "surrogateescape")}
                    at += len(data)
                    left -= len(data)
                    alive()
                    data = file.read(min(CHUNK // 4, left))


CALLS = {
    "hello": hello,
    "folders": folders,
    "remove": remove,
    "probe": probe,
    "list": list_files,
    "sums": sums,
    "pieces": pieces,
    "commit": commit,
    "copy": copy,
    "grown": grown,
}


def hex_sum(text: str) -> str:
    """Return text, which must be a sha256 in hex: it becomes a file's name."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise Refused("not a sha256", errno.EINVAL)
    return text


def write_all(fd: int, data: Union[bytes, memoryview], at: Optional[int]) -> None:
    """Write all of data, at an offset or where the file's end is."""
    view = memoryview(data)
    while view:
        count = os.write(fd, view) if at is None else os.pwrite(fd, view, at)
        view = view[count:]
        at = None if at is None else at + count
