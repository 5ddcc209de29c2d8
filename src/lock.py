"""Locks that die with their process, so that none is ever left behind."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from src.dag import Dag
from src.errors import BusyError, ConfigError


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
            holder = os.read(fd, 64).decode("ascii", "replace").strip()
            raise BusyError(
                f"{dag.path.name} is running already into {folder}" + (f" (process {holder})" if holder else ""),
                hint="wait for it, or give another folder: --output DIR",
            )
        with contextlib.suppress(OSError):  # the holder's number is a courtesy, on a full disk too
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def try_lock(fd: int) -> bool:
    """Lock an open file if nobody else has; closing it gives it back."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
