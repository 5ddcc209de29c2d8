"""A run is started exactly once, whatever happens to the answer."""

import types
from collections.abc import Callable

import pytest

from src.errors import RunError
from src.kube import submission as module
from src.kube.answers import OutageError, RefusedError
from src.kube.patience import Patience
from src.kube.runs import RunState
from src.kube.session import Unsure
from src.kube.submission import Submission
from src.kube.unreachable import Cause, UnreachableError

LOST = UnreachableError("h closed the connection", cause=Cause.CUT, sent=True)
NOT_SENT = UnreachableError("no connection", cause=Cause.REFUSED, sent=False)
GATEWAY = OutageError("h answers 504", own=False)
OWN = OutageError("h answers 500: bad name", own=True)


class Server:
    """A server that does what it is told, at once or later, and may say nothing of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: tuple[Exception | None, float | None]) -> None:
        self.now = 0.0
        self.took = 0.0  # seconds of a submission
        self.answers = list(answers)  # of each submission: what is raised; seconds until the run is there, or None
        self.posts = 0
        self.looks = 0
        self.ended: list[str] = []
        self._due: list[tuple[float, RunState]] = []
        monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: self.now))

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False

    def find(self) -> tuple[RunState, ...]:
        self.looks += 1
        return tuple(run for due, run in sorted(self._due, key=lambda item: item[0]) if due <= self.now)

    def send(self, read: float) -> RunState:
        error, delay = self.answers[self.posts] if self.posts < len(self.answers) else (None, 0.0)
        self.posts += 1
        run = state(f"run-{self.posts}")
        start, self.now = self.now, self.now + self.took
        if delay is not None:
            self._due.append((start + delay, run))
        if error:
            raise error
        return run

    def submit(self, tasks: int = 5) -> RunState:
        return Submission(find=self.find, send=self.send, end=self.ended.append, patience=Patience(300, self)).submit(
            tasks
        )

    def add(self, run: RunState) -> None:
        self._due.append((0.0, run))


def state(key: str, value: str = "PENDING") -> RunState:
    return RunState(id=key, name="n", state=value, created=0, finished=None, error="", tasks=())


Make = Callable[..., Server]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda *answers: Server(monkeypatch, *answers)


def test_a_run_is_looked_for_and_then_sent(make: Make) -> None:
    server = make()

    assert server.submit().id == "run-1"
    assert (server.posts, server.looks, server.now) == (1, 1, 0)


def test_a_run_that_is_there_is_not_sent(make: Make) -> None:
    server = make()
    server.add(state("earlier", "RUNNING"))

    assert server.submit().id == "earlier"
    assert server.posts == 0


@pytest.mark.parametrize("error", [LOST, GATEWAY])
@pytest.mark.parametrize("delay", [0, 5])
def test_a_lost_answer_is_made_up_by_a_look(make: Make, error: Exception, delay: float) -> None:
    server = make((error, delay))

    assert server.submit().id == "run-1"
    assert server.posts == 1
    assert server.now <= delay + 2


def test_a_submission_that_never_arrived_is_sent_again(make: Make) -> None:
    server = make((LOST, None))

    assert server.submit(tasks=5).id == "run-2"
    assert server.posts == 2
    assert 11 <= server.now <= 15  # it might have been on its way


def test_a_big_pipeline_gets_longer(make: Make) -> None:
    server = make((GATEWAY, 80))

    assert server.submit(tasks=400).id == "run-1"
    assert server.posts == 1


def test_what_was_not_sent_is_sent_at_once(make: Make) -> None:
    server = make((NOT_SENT, None))

    assert server.submit().id == "run-2"
    assert server.now == 0


def test_a_session_that_ended_is_no_loss(make: Make) -> None:
    server = make((Unsure(), None), (Unsure(), None))

    assert server.submit().id == "run-3"
    assert (server.now, server.looks) == (0, 3)


def test_a_page_in_the_place_of_the_answer_does_not_start_two(make: Make) -> None:
    server = make((Unsure(), 0))

    assert server.submit().id == "run-1"
    assert server.posts == 1


def test_a_second_run_of_a_server_that_was_slow_is_ended(make: Make) -> None:
    server = make((LOST, 14), (None, 0))
    server.took = 1.5  # the first comes, at 14 s, while the second is being sent, from 13.5 to 15 s

    assert server.submit(tasks=5).id == "run-2"
    assert (server.posts, server.ended) == (2, ["run-1"])


def test_of_two_runs_the_older_counts(make: Make) -> None:
    server = make()
    server.add(state("one"))
    server.add(state("two"))
    server.add(state("three", "FAILED"))

    assert server.submit().id == "one"
    assert server.ended == ["two"]


@pytest.mark.parametrize("error", [OWN, RefusedError("no", status=400)])
def test_a_refusal_is_told_and_not_repeated(make: Make, error: RunError) -> None:
    server = make((error, None))

    with pytest.raises(type(error)):
        server.submit()

    assert server.posts == 1


def test_it_gives_up_in_the_end(make: Make) -> None:
    server = make(*[(LOST, None)] * 9)

    with pytest.raises(RunError, match="sent 5 times"):
        server.submit()
