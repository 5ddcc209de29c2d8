"""Starts a run exactly once: a submission whose answer is lost is looked for by its name before it is sent again.

A gateway may cut a long POST while the server goes on with it, so a run that is not there yet may still come.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from src.errors import RunError
from src.kube.answers import OutageError
from src.kube.patience import Patience
from src.kube.runs import RunState
from src.kube.session import Unsure
from src.kube.unreachable import UnreachableError

log = logging.getLogger("autopipe")

SENDS = 5
LOOK = 2.0  # seconds between looks for a run whose submission got lost


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One run to start. find: gives the runs that have its name. send: sends it, waiting so many seconds for an answer.

    end: terminates one by its id.
    """

    find: Callable[[], tuple[RunState, ...]]
    send: Callable[[float], RunState]
    end: Callable[[str], None]
    patience: Patience

    def submit(self, tasks: int) -> RunState:
        """Return the run, started now or before; tasks: how many it has, which is what the server's time grows with."""
        settle = 10 + tasks / 5  # seconds; measured: 14 s for 400 tasks on two busy cores
        lost = False
        found = self.find()
        for _ in range(SENDS):
            if found:
                return self._only(found)
            try:
                run = self.send(60 + settle)
            except Unsure:
                found = self.find()
                continue
            except (UnreachableError, OutageError) as error:
                if isinstance(error, OutageError) and error.own:
                    raise  # the server's own refusal of this pipeline
                found = self._look_for(error, settle)
                lost = True
                continue
            return self._only(self.find()) if lost else run
        if found:
            return self._only(found)
        raise RunError(
            f"the pipeline was sent {SENDS} times, and no answer came", hint="the same command looks for its run first"
        )

    def _look_for(self, error: UnreachableError | OutageError, settle: float) -> tuple[RunState, ...]:
        if isinstance(error, UnreachableError) and not error.sent:
            return self.find()  # which waits until the server can be reached
        log.info("%s: looking for the run before it is sent again", error.message)
        until = time.monotonic() + settle
        while not (found := self.find()) and time.monotonic() < until:
            self.patience.pause(LOOK)
        return found

    def _only(self, found: tuple[RunState, ...]) -> RunState:
        """Return the oldest; a later one is there when the server did what it had said nothing of."""
        for extra in found[1:]:
            if not extra.is_final:
                log.warning("the server started the run twice: ending the second, %s", extra.id)
                self.end(extra.id)
        return found[0]
