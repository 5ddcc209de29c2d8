"""Who uses our images: notes in the cache, locked by the runs that are going on, so that no clean-up takes them away.

    <CACHE_DIR>/images/<key>/<digest of a path>   text: that path; locked (shared) while a run needs the image
    <CACHE_DIR>/images/<key>/built                IDs of images that were made for the key, one a line
    <CACHE_DIR>/images/building                   locked (shared) while images are being made

A path is that of a DAG file, for the images that it needs today, or of a run's folder; gone, it needs none. All
images that are made with one cache carry the label BUILDER with the same value; nothing else is ever removed.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from src.dag import Dag
from src.settings import Settings

BUILDER = "autopipe.builder"
"""Set first in every stage, so that what a build that was cut leaves behind can be told too."""

KEY = "autopipe.key"
"""Set last: whatever has it is complete."""

_BUILT = "built"
_DIGITS = 16


def builder_of(settings: Settings) -> str:
    """Return the value of BUILDER for this cache on this machine."""
    text = f"{platform.node()}\0{settings.cache_dir}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


@contextlib.contextmanager
def hold_images(dag: Dag, keys: Iterable[str], settings: Settings, *, run: Path | None = None) -> Iterator[None]:
    """Keep images, by their keys, from any clean-up: while the block runs, and as long as the run's folder is there."""
    with contextlib.ExitStack() as stack:
        for key in set(keys):
            for user in (dag.path, run):
                if user:
                    stack.enter_context(_locked(_note(key, user, settings), text=str(user)))
        yield


def note_use(dag: Dag, keys: Collection[str], settings: Settings) -> None:
    """Note that a DAG needs these images today, and none that it needed before."""
    with hold_images(dag, keys, settings):
        pass
    for note in _folder(settings).glob(f"*/{_digest(dag.path)}"):
        if note.parent.name not in keys:
            with _locked(note, exclusive=True) as free:
                if free:
                    note.unlink()


def is_used(key: str, settings: Settings) -> bool:
    """Whether a DAG, a kept run or a run that is going on uses an image; notes of what is gone are removed."""
    for note in (_folder(settings) / key).glob("?" * _DIGITS):
        with _locked(note, exclusive=True) as free:
            if not free or Path(note.read_text()).exists():
                return True
            note.unlink()
    return False


def is_held(key: str, settings: Settings) -> bool:
    """Whether a run that is going on uses an image."""
    for note in (_folder(settings) / key).glob("?" * _DIGITS):
        with _locked(note, exclusive=True) as free:
            if not free:
                return True
    return False


def note_built(key: str, image_id: str, settings: Settings) -> None:
    """Note that an image is ours, whatever names it may lose."""
    if built_ids(key, settings)[-1:] != [image_id]:
        place = _folder(settings) / key / _BUILT
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a") as file:
            file.write(f"{image_id}\n")


def built_ids(key: str, settings: Settings) -> list[str]:
    """Return the IDs of the images that were made for a key, the last one last."""
    try:
        return (_folder(settings) / key / _BUILT).read_text().split()
    except FileNotFoundError:
        return []


def forget_unused(settings: Settings) -> None:
    """Remove the notes of images that nobody uses and that are gone."""
    for folder in _folder(settings).glob("?" * 64):
        if not is_used(folder.name, settings):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def building(settings: Settings) -> Iterator[None]:
    """Say that images are being made, for the time of the block."""
    with _locked(_folder(settings) / "building"):
        yield


@contextlib.contextmanager
def nobody_builds(settings: Settings) -> Iterator[bool]:
    """Give whether no process of this cache makes images; if so, none begins while the block runs."""
    with _locked(_folder(settings) / "building", exclusive=True) as alone:
        yield alone


def _folder(settings: Settings) -> Path:
    return settings.cache_dir / "images"


def _note(key: str, user: Path, settings: Settings) -> Path:
    return _folder(settings) / key / _digest(user)


def _digest(user: Path) -> str:
    return hashlib.sha256(os.fsencode(user)).hexdigest()[:_DIGITS]


@contextlib.contextmanager
def _locked(path: Path, *, exclusive: bool = False, text: str | None = None) -> Iterator[bool]:
    """Lock a file, made where it is missing; give whether that worked. A shared lock waits, the other does not."""
    fd = _open(path)
    try:
        locked = _lock(fd, exclusive=exclusive)
        while locked and not _is_at(path, fd):  # it was removed between opening and locking
            os.close(fd)
            fd = _open(path)
            locked = _lock(fd, exclusive=exclusive)
        if text is not None:
            os.pwrite(fd, os.fsencode(text), 0)
        yield locked
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _lock(fd: int, *, exclusive: bool) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
