"""How long and how often requests are repeated; time is counted, not waited for."""

import logging
import types
from collections.abc import Callable

import pytest

from src.kube import patience as module
from src.kube.answers import OutageError, RefusedError
from src.kube.login import NotLoggedInError
from src.kube.patience import Patience, StoppedError
from src.kube.unreachable import Cause, UnreachableError
from src.kube.walk import LoginRefusedError


class Clock:
    """A clock that only waiting moves, and a wish to stop at some time."""

    def __init__(self, stop_at: float = float("inf")) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.stop_at = stop_at

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return self.now >= self.stop_at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: made.now))
    return made


def outage(own: bool = False) -> OutageError:
    return OutageError("h answers 503", own=own)


def no_answer(cause: Cause) -> UnreachableError:
    return UnreachableError(cause.name, cause=cause, sent=False)


def failing(error: Exception, until: Callable[[], bool] = lambda: False) -> Callable[[], str]:
    def attempt() -> str:
        if until():
            return "done"
        raise error

    return attempt


def known(clock: Clock, seconds: float = 300) -> Patience:
    patience = Patience(seconds, clock)
    patience.repeat(lambda: None)
    return patience


def test_an_outage_in_the_middle_is_waited_for(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "autopipe"):
        result = known(clock).repeat(failing(outage(), lambda: clock.now > 30))

    assert result == "done"
    assert all(later <= 15 for later in clock.waits)
    assert clock.waits[0] <= 0.5
    assert len(clock.waits) < 12  # it grows: 30 s of 503 are not answered with a request every half second
    assert caplog.records[0].message == "h answers 503: trying again"
    assert len(caplog.records) == 2  # and when it answers again


def test_a_single_hiccup_is_not_worth_a_line(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "autopipe"):
        known(clock).repeat(failing(outage(), lambda: bool(clock.waits)))

    assert not caplog.records


def test_pauses_are_uneven(clock: Clock) -> None:
    for _ in range(20):
        patience = known(clock)
        tried: list[None] = []
        patience.repeat(failing(outage(), lambda tried=tried: len(tried) > 0 or bool(tried.append(None))))  # type: ignore[misc]

    assert len(set(clock.waits)) > 10


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (outage(), 300),
        (outage(own=True), 300),
        (no_answer(Cause.CUT), 300),
        (no_answer(Cause.NAME), 300),
        (no_answer(Cause.TIMEOUT), 300),
        (NotLoggedInError("html"), 300),
        (no_answer(Cause.TLS), 0),
        (LoginRefusedError("wrong password"), 0),
        (RefusedError("no", status=400), 0),
    ],
)
def test_a_server_that_has_answered_before_gets_patience(clock: Clock, error: Exception, seconds: float) -> None:
    with pytest.raises(type(error)):
        known(clock).repeat(failing(error))

    assert clock.now == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (outage(), 60),
        (outage(own=True), 10),
        (no_answer(Cause.REFUSED), 4),
        (no_answer(Cause.CUT), 4),
        (no_answer(Cause.NAME), 0),
        (no_answer(Cause.TIMEOUT), 0),
        (no_answer(Cause.TLS), 0),
        (NotLoggedInError("html"), 0),
    ],
)
def test_a_server_that_never_answered_is_told_of_soon(clock: Clock, error: Exception, seconds: float) -> None:
    with pytest.raises(type(error)):
        Patience(300, clock).repeat(failing(error))

    assert clock.now == pytest.approx(seconds)


def test_a_stop_ends_the_waiting(clock: Clock) -> None:
    clock.stop_at = 7

    with pytest.raises(StoppedError):
        known(clock).repeat(failing(outage()))

    assert clock.now < 7 + 15


def test_what_is_done_after_a_stop_is_not_stopped(clock: Clock) -> None:
    clock.stop_at = 0
    patience = known(clock)
    cleanup = patience.for_cleanup(0)  # it waits by itself, so here not at all

    with pytest.raises(OutageError):
        cleanup.repeat(failing(outage()))

    assert not clock.waits
