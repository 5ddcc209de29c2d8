"""What a run tells while it goes on: timed lines, or a live display on a terminal; the only user of rich."""

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from src.step import Record

log = logging.getLogger("autopipe")


class Progress:
    """Told of steps by whatever thread runs them; writes a line a step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def begin(self, tasks: int) -> None:
        """Take the number of tasks of the run."""

    def advance(self, task: str, record: Record) -> None:
        """Take a record of a task as the launcher notifies it."""
        if record["event"] == "start":
            if record["pending"]:
                log.info("%s: %s", task, _amount(record["pending"], record["kept"]))
        elif record["attempts"] > 1:
            log.info("%s: %s took %d attempts", task, record["name"], record["attempts"])

    def end(self, task: str, end: Record, kept: Sequence[Record], ran: Sequence[Record]) -> None:
        """Take a task's end record, and the records of its invocations: done before, and run now."""
        if end["state"] == "failed":
            log.info("%s: failed: %s", task, end["message"])
            return
        files = count(sum(len(record["outputs"]) for record in (*kept, *ran)), "file")
        if ran:  # told late where a cluster is far: their own times count
            seconds = max(one["time"] + one["seconds"] for one in ran) - min(one["time"] for one in ran)
            log.info("%s: %s, %s, %.1f s", task, end["state"], files, seconds)
        else:
            log.info("%s: %s, %s, nothing to run", task, end["state"], files)

    @property
    def echo(self) -> Callable[[bytes], None] | None:
        """What to call with what components print, if the user asked to see it."""
        return _echo if log.isEnabledFor(logging.DEBUG) else None

    def close(self) -> None:
        """Leave the terminal as it was."""


def _echo(chunk: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more, which is no reason for a step to fail
        sys.stderr.write(chunk.decode("utf-8", "replace"))


def count(number: int, noun: str) -> str:
    """Return "1 file", "2 files"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _amount(pending: int, kept: int) -> str:
    return f"{pending} to run" + (f", {kept} done before" if kept else "")


class LiveProgress(Progress):
    """A bar a step at work and one for the whole run, below the lines."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console  # noqa: TID251  # this is the door
        from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn  # noqa: TID251
        from rich.progress import Progress as Bars  # noqa: TID251

        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._rows: dict[str, TaskID] = {}
        self._whole = self._bars.add_task("steps", total=None)
        self._bars.start()

    def begin(self, tasks: int) -> None:
        """Take the number of tasks of the run."""
        self._bars.update(self._whole, total=tasks)

    def advance(self, task: str, record: Record) -> None:
        """Take a record of a task as the launcher notifies it."""
        super().advance(task, record)
        with self._lock:
            if record["event"] == "start":
                done, total = record["kept"], record["kept"] + record["pending"]
                self._rows[task] = self._bars.add_task(task, total=total, completed=done)
            else:
                self._bars.advance(self._rows[task])

    def end(self, task: str, end: Record, kept: Sequence[Record], ran: Sequence[Record]) -> None:
        """Take a task's end record; see Progress."""
        super().end(task, end, kept, ran)
        with self._lock:
            if task in self._rows:
                self._bars.remove_task(self._rows.pop(task))
            self._bars.advance(self._whole)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bars.stop()


@contextlib.contextmanager
def follow(*, live: bool) -> Iterator[Progress]:
    """Give a Progress for the time of a run."""
    progress = LiveProgress() if live else Progress()
    try:
        yield progress
    finally:
        progress.close()
