"""Follows a run on the cluster to its end: rounds of a look at its state, its pods, its journals and logs."""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from src.errors import RunError
from src.kube.answers import NotFoundError
from src.kube.api import Api
from src.kube.cut import CutError
from src.kube.journals import FOLDER, Journals
from src.kube.patience import Stop, StoppedError
from src.kube.runs import RunState
from src.kube.verdict import Pod

log = logging.getLogger("autopipe")
LOGS = ".autopipe/logs/"
Tail = Callable[[], Iterable[tuple[str, int, bytes]]]
"""Gives what journals and logs on the volume have got since the last call: path, offset, bytes."""
EVERY = 2.0  # seconds between rounds at the beginning
LONGEST = 5.0  # seconds between rounds of a run that takes long
SETTLE = 2.0  # seconds after which a final run's task states are right
SILENT = 180.0  # seconds without a pod after which nothing will come


class GoneError(RunError):
    """The run was deleted on the server."""


class StuckError(RunError):
    """A pod waits for something that will not come."""


class TimeoutRunError(RunError):
    """RUN_TIMEOUT has passed."""


class Look(Protocol):
    """What a follower looks at beside the server; each call is short and may fail with RunError."""

    def pods(self) -> list[Pod]:
        """Return the run's pods, as far as the user may see them."""

    def stuck(self, pods: Iterable[Pod]) -> RunError | None:
        """Return why a pod will not go on, once there is no hope that it will."""


@dataclass(kw_only=True)
class Follower:
    """Follows one run. logs: the folder that logs are written into. timeout: seconds for the whole run.

    began: when it was submitted, perhaps by another client, in seconds since the epoch of this machine.
    """

    api: Api
    look: Look
    tail: Tail
    journals: Journals
    logs: Path
    stop: Stop
    timeout: float | None
    began: float
    echo: Callable[[bytes], None] | None
    ended: Callable[[Collection[str]], None]
    """Told in each round which tasks have ended by now."""
    cancelled: bool = False
    """Whether the server was seen ending the run, which we had not asked for."""
    _silence: bool = False  # it was told that the server starts nothing
    _outage: bool = False  # it was told that the cluster shows nothing

    def follow(self, run_id: str) -> tuple[RunState, list[Pod]]:
        """Return the run when it is over, and its pods as they were last.

        Raises StuckError, TimeoutRunError, GoneError, StoppedError; the run goes on then.
        """
        pods: list[Pod] = []
        first = time.monotonic()
        every = EVERY
        while True:
            state = self._get(run_id)
            pods = self._see() or pods
            self.cancelled = self.cancelled or state.state in ("CANCELING", "CANCELED")
            if state.state == "SUCCEEDED":
                return state, pods
            if state.is_final:
                if self.stop.wait(SETTLE):
                    raise StoppedError("stopped")
                pods = self._see() or pods
                return self._get(run_id), pods
            self._check_time()
            self._check_pods(pods)
            if not pods and not state.tasks and time.monotonic() - first > SILENT:
                self._tell_silence(state)
            if self.stop.wait(every):
                raise StoppedError("stopped")
            every = min(LONGEST, every * 1.02)

    def _see(self) -> list[Pod]:
        """Take what the cluster shows of the run. While its API server is away the run itself goes on."""
        try:
            self.read_volume()
            return self.look.pods()
        except CutError as error:
            self._tell_outage(error)
            return []

    def _check_pods(self, pods: list[Pod]) -> None:
        try:
            stuck = self.look.stuck(pods)
        except CutError as error:
            self._tell_outage(error)
            return
        if stuck:
            raise stuck

    def _tell_silence(self, state: RunState) -> None:
        message = f"the server has started nothing for {SILENT:.0f} s"
        if state.state == "RUNNING":
            raise StuckError(
                message,
                hint="does the namespace have the service account of its pipelines (default-editor), and room in its "
                "quota? kubectl get workflows,events shows more",
            )
        if not self._silence:  # it may have its turn yet, where only so many run at once
            log.warning("%s: does it let others go first?", message)
        self._silence = True

    def _tell_outage(self, error: CutError) -> None:
        log.log(logging.DEBUG if self._outage else logging.WARNING, "%s: the run goes on unseen", error.message)
        self._outage = True

    def _get(self, run_id: str) -> RunState:
        try:
            return self.api.get_run(run_id)
        except NotFoundError as error:
            raise GoneError(
                "the run was deleted on the server while it went on",
                hint="the same command starts it anew and goes on from what was done",
            ) from error

    def _check_time(self) -> None:
        passed = time.time() - self.began
        if self.timeout is not None and passed > self.timeout:
            raise TimeoutRunError(
                f"the run takes longer than {self.timeout:g} s (RUN_TIMEOUT)",
                hint="raise RUN_TIMEOUT; the same command goes on from here",
            )

    def read_volume(self) -> None:
        """Take what journals and logs have got."""
        for path, at, data in self.tail():
            if path.startswith(FOLDER):
                self.journals.take(Path(path).stem, at, data)
            elif path.startswith(LOGS):
                self._write_log(Path(path).name, at, data)
        self.journals.tell()
        self.ended(self.journals.ends)

    def _write_log(self, name: str, at: int, data: bytes) -> None:
        try:
            with (self.logs / name).open("r+b" if (self.logs / name).exists() else "w+b") as file:
                file.seek(at)
                file.write(data)
        except OSError as error:  # the run itself needs no room here; its outputs will say so if there is none
            log.warning("the log %s cannot be written here: %s", name, error.strerror)
        if self.echo:
            self.echo(data)
