"""Containers of runs that died are found by their labels and removed; no others are ever touched."""

import os
import platform
from pathlib import Path

from src.containers.calls import Calls
from src.lock import try_lock
from src.record import PRIVATE

RUN, DAG, TASK, FOLDER, OWNER = (f"autopipe.{word}" for word in ("run", "dag", "task", "folder", "owner"))
"""Labels of every container of ours."""


def container_labels(*, run_id: str, dag: str, folder: Path, task: str) -> dict[str, str]:
    """Return the labels of a task's container; folder: the run's."""
    return {RUN: run_id, DAG: dag, TASK: task, FOLDER: str(folder), OWNER: _owner()}


def _owner() -> str:
    # Whether a run lives can be told on its own machine only, and by its own user.
    return f"{os.getuid()}@{platform.node()}"


def remove_containers(calls: Calls, run_id: str, folder: Path) -> int:
    """Remove all containers of a run; return how many there were. Raises RefusedError and SilentError."""
    return _remove(calls, calls.list(f"{RUN}={run_id}", f"{FOLDER}={folder}"))


def remove_orphans(calls: Calls) -> int:
    """Remove the containers of all dead runs of this user on this machine, wherever they were; return how many.

    Raises RefusedError and SilentError.
    """
    found = calls.list(RUN, f"{OWNER}={_owner()}")
    return _remove(calls, [one for one in found if not _is_alive(Path(one["Labels"].get(FOLDER, "")))])


def _remove(calls: Calls, containers: list[dict[str, object]]) -> int:
    return sum(calls.remove(str(one["Id"])) for one in containers)


def _is_alive(folder: Path) -> bool:
    """Say whether a run is at work in a folder: then it holds the lock there."""
    try:
        fd = os.open(folder / PRIVATE / "lock", os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # a disk that is away: nobody can tell
        return True
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)
