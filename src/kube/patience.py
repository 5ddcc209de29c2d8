"""How long and how often a request is repeated when its failure may pass."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from src.errors import RunError
from src.kube.answers import OutageError
from src.kube.login import NotLoggedInError
from src.kube.unreachable import Cause, UnreachableError

log = logging.getLogger("autopipe")
T = TypeVar("T")

FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0  # seconds
_AT_FIRST = {Cause.REFUSED: 4.0, Cause.CUT: 4.0}
"""Seconds for a server that has never answered: more likely than an outage is a wrong address."""


class Stop(Protocol):
    """Something that a user's wish to stop is seen by: threading.Event, step.Cancel."""

    def wait(self, seconds: float, /) -> bool:
        """Wait at most that long; return whether to stop."""


class StoppedError(RunError):
    """Whoever waited was told to stop."""


class Patience:
    """Repeats requests for up to some seconds of an outage, with growing, uneven pauses."""

    def __init__(self, seconds: float, stop: Stop | None = None) -> None:
        self._seconds = seconds
        self._stop = stop or threading.Event()
        self._known = False

    def for_cleanup(self, seconds: float) -> "Patience":
        """Return one for what must be done after a stop: it is not stopped again, and gives up sooner."""
        other = Patience(seconds)
        other._known = self._known
        return other

    def repeat(self, attempt: Callable[[], T]) -> T:
        """Return what attempt returns, calling it again while its failures may pass.

        Raises its last error when they do not pass in time, StoppedError when the user wants to stop meanwhile.
        """
        start, tries = time.monotonic(), 0
        while True:
            try:
                result = attempt()
            except (UnreachableError, OutageError, NotLoggedInError) as error:
                delay = min(LONGEST_DELAY, FIRST_DELAY * 2**tries) * random.uniform(0.5, 1)  # noqa: S311  # no secret
                left = self._allowed(error) - (time.monotonic() - start)
                if left <= 0:
                    raise
                tries += 1
                if tries > 1:
                    log.log(logging.INFO if tries == 2 else logging.DEBUG, "%s: trying again", error.message)
                self.pause(min(delay, left))
            else:
                self._known = True
                if tries > 1:
                    log.info("the server answers again after %.0f s", time.monotonic() - start)
                return result

    def pause(self, seconds: float) -> None:
        """Wait; raises StoppedError as soon as the user wants to stop."""
        if self._stop.wait(seconds):
            raise StoppedError("stopped while waiting for the server")

    def _allowed(self, error: UnreachableError | OutageError | NotLoggedInError) -> float:
        """Return for how many seconds after the first such error to try again."""
        if isinstance(error, UnreachableError) and error.cause in (Cause.TLS, Cause.ADDRESS):
            return 0
        if self._known:
            return self._seconds
        if isinstance(error, UnreachableError):
            return min(self._seconds, _AT_FIRST.get(error.cause, 0))
        if isinstance(error, NotLoggedInError):
            return 0
        return min(self._seconds, 10 if error.own else 60)
