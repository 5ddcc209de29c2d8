"""A thread that looks after containers at work: tells what they do, and ends them when the run is told to stop."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from src.containers.calls import Calls
from src.containers.growing import Growing, GrowingJournal
from src.step import GRACE, Cancel, Record

log = logging.getLogger("autopipe")

TICK = 0.1  # seconds between looks
AGAIN = 1.0  # seconds between SIGTERMs
PATIENCE = GRACE + 3  # seconds between SIGTERM and SIGKILL: the launcher gives its component GRACE of them

Notify = Callable[[Record], None]


class Container:
    """A container that was started for a task."""

    def __init__(self, name: str, journal: GrowingJournal, kept: set[str], notify: Notify) -> None:
        self.name = name
        self._journal = journal
        self._kept = kept  # keys of invocations that were done before
        self._notify = notify
        self._lock = threading.Lock()
        self._kill_at: float | None = None
        self._ask_at = 0.0

    @property
    def records(self) -> list[Record]:
        """All that the launcher has written since its start, as far as it was told."""
        return self._journal.records

    def tell(self) -> None:
        """Pass on which invocations have ended since the last time."""
        with self._lock:
            for record in self._journal.read():
                if record["event"] == "invocation" and record["key"] not in self._kept:
                    self._notify(record)

    def stop(self, calls: Calls) -> None:
        """Ask the launcher to end; end it, when it was asked long ago."""
        now = time.monotonic()
        if self._kill_at is None:
            self._kill_at = now + PATIENCE
        if now >= self._kill_at:
            calls.signal(self.name, "SIGKILL")
        elif now >= self._ask_at:
            # Said again: a first process that has not yet come to listen does not hear it, nor is it ended by it.
            self._ask_at = now + AGAIN
            calls.signal(self.name, "SIGTERM")


class Watch:
    """The containers at work."""

    def __init__(self, calls: Calls, cancel: Cancel, echo: Callable[[bytes], None] | None) -> None:
        self._calls = calls
        self._cancel = cancel
        self._echo = echo
        self._containers: dict[str, Container] = {}
        self._logs: dict[Path, Growing] = {}
        self._echoing = threading.Lock()
        self._over = threading.Event()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Watch while the block runs."""
        with ThreadPoolExecutor(1, "watch") as pool:
            looking = pool.submit(self._look)
            try:
                yield
            finally:
                self._over.set()
            looking.result()  # should it have ended early, that is a bug to be told

    @contextlib.contextmanager
    def following(self, container: Container, log_path: Path) -> Iterator[None]:
        """Watch a container from before its start to after its end."""
        if self._echo:
            with self._echoing:
                self._logs.setdefault(log_path, Growing(log_path))
        self._containers[container.name] = container
        try:
            yield
        finally:
            del self._containers[container.name]
            container.tell()
            self._tell_logs()

    def _look(self) -> None:
        while not self._over.wait(TICK):
            for container in list(self._containers.values()):
                container.tell()
                if self._cancel.is_set():
                    container.stop(self._calls)
            self._tell_logs()

    def _tell_logs(self) -> None:
        if self._echo is None:
            return
        with self._echoing:
            for growing in list(self._logs.values()):
                for chunk in growing.read():
                    self._echo(chunk)
