"""Locks that die with their process, so that none is ever left behind."""

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from src.dag import Dag
from src.errors import BusyError, ConfigError

_LOOKS = 50
_WIDTH = 32  # bytes


def dag_folder(dag: Dag, output: Path) -> Path:
    """Return where a DAG's runs and store are below the output folder."""
    return output / dag.name


@contextlib.contextmanager
def lock_dag(dag: Dag, output: Path) -> Iterator[None]:
    """Hold the only right to run this DAG, its name and its file's path, into this output folder.

    Raises BusyError when another process has it, ConfigError when the folder cannot be written.
    """
    folder = dag_folder(dag, output)
    path = folder / f".lock-{hashlib.sha256(os.fsencode(dag.path)).hexdigest()[:12]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ConfigError(
            f"cannot write to the output folder {folder}: {error.strerror}",
            hint="give a folder that can be written: --output DIR",
        ) from error
    try:
        if not try_lock(fd):
            holder = _read_holder(fd)
            raise BusyError(
                f"{dag.path.name} is running already into {folder}" + (f" (process {holder})" if holder else ""),
                hint="wait for it, or give another folder: --output DIR",
            )
        yield
    finally:
        os.close(fd)


def try_lock(fd: int) -> bool:
    """Lock a file, open for reading and writing, if nobody else has; closing it gives it back.

    A process that was killed in the moment when it started a child leaves its locks to that child, until the child
    has become another program: so a lock of a process that is gone is waited for, a second at most.
    """
    for _ in range(_LOOKS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(fd)
            if not holder or _is_alive(holder):
                return False
            threading.Event().wait(1 / _LOOKS)
        else:
            with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
                # As wide as _read_holder reads, so that no longer number shows behind it: to truncate a file that has
                # content costs a wait for the disk.
                os.pwrite(fd, f"{os.getpid()}\n".encode().rjust(_WIDTH), 0)
            return True
    return False


def _read_holder(fd: int) -> int:
    text = os.pread(fd, _WIDTH, 0).strip()
    return int(text) if text.isdigit() else 0


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def share_lock(fd: int) -> None:
    """Change a lock to one that others may share, or take it so; waits while another has it alone."""
    fcntl.flock(fd, fcntl.LOCK_SH)
