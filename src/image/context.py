"""What a build is sent: a tar made on the way from the component's files, the same for the same content."""

import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from src.errors import ImageError

CHUNK = 1 << 20
TIME = 946_684_800  # 2000-01-01: no file is of 1970, which zip refuses
BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file or link of the context: a path on this disk, or a text of ours."""

    name: str  # in the context, "/" between parts
    source: Path | bytes


def folder_members(folder: Path, files: Iterable[Path], prefix: str = "") -> list[Member]:
    """Return files of a folder as members, under their paths in it behind prefix."""
    return [Member(name=f"{prefix}{path.relative_to(folder).as_posix()}", source=path) for path in files]


def stream_context(name: str, members: Iterable[Member], check: Callable[[], None]) -> Iterator[bytes]:
    """Give the tar of a component's context in pieces: sorted, owned by root, of one time, readable by everybody.

    check is called when all is read and before the tar is complete: what it raises ends the build. Raises ImageError
    for a file that cannot be read or changes meanwhile.
    """
    folders: set[str] = set()
    for member in sorted(members, key=lambda member: member.name):
        for parent in reversed(PurePosixPath(member.name).parents[:-1]):
            if str(parent) not in folders:
                folders.add(str(parent))
                yield _header(str(parent), kind=tarfile.DIRTYPE, mode=0o755)
        try:
            yield from _member(name, member)
        except OSError as error:
            raise ImageError(
                f"cannot read component {name}: {error.filename}: {error.strerror}", hint="check its rights"
            ) from error
    check()
    yield bytes(2 * BLOCK)


def _member(component: str, member: Member) -> Iterator[bytes]:
    if isinstance(member.source, bytes):
        yield _header(member.name, size=len(member.source)) + member.source + _padding(len(member.source))
        return
    status = member.source.lstat()
    if stat.S_ISLNK(status.st_mode):
        yield _header(member.name, kind=tarfile.SYMTYPE, mode=0o777, link=_inner_link(member.source))
    elif stat.S_ISREG(status.st_mode):
        with member.source.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            yield _header(member.name, size=size, mode=0o755 if status.st_mode & 0o100 else 0o644)
            left = size
            while left and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk
        if left:
            raise ImageError(
                f"component {component}: {member.source} became shorter while it was read",
                hint="give the same command again when nothing writes there",
            )
        yield _padding(size)
    # Sockets and the like are no part of an image; Docker leaves them out too.


def _inner_link(path: Path) -> str:
    target = os.fspath(path.readlink())
    # An absolute one leads into the component too, for others are refused; but in the image that lies elsewhere.
    return os.path.relpath(path.resolve(), path.parent.resolve()) if target.startswith("/") else target


def _header(name: str, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, size, link, TIME
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)
