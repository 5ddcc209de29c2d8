"""What an earlier client left is found, whenever it died."""

from typing import Any

import pytest

from src.kube import earlier
from src.kube.answers import NotFoundError
from src.kube.earlier import SETTLE, find_run
from src.kube.patience import StoppedError
from src.kube.runs import RunState
from src.kube.state import KEPT, LEAVING, PREPARING, RUNNING, SUBMITTING, ClusterRun


def record(phase: str, *, run_id: str | None = None, began: float = 1000) -> ClusterRun:
    return ClusterRun(claim="c", run="r", name="app r", plan="p", phase=phase, id=run_id, began=began)


RUN = RunState(id="1", name="app r", state="RUNNING", created=None, finished=None, error="", tasks=())


class Server:
    """Has the run from the n-th look on. It is the clock and the user's wish to stop, too."""

    def __init__(self, *, there_at: int | None = 1, stop_at: float | None = None) -> None:
        self.there_at = there_at
        self.stop_at = stop_at
        self.looks = 0
        self.now = 1000.0

    def get_run(self, run_id: str) -> RunState:
        assert run_id == "1"
        if self.there_at is None:
            raise NotFoundError("gone", status=404)
        return RUN

    def find_runs(self, name: str, namespace: str) -> tuple[RunState, ...]:
        assert (name, namespace) == ("app r", "team-1")
        self.looks += 1
        return (RUN,) if self.there_at is not None and self.looks >= self.there_at else ()

    def time(self) -> float:
        return self.now

    def wait(self, seconds: float, /) -> bool:
        self.now += seconds
        return self.stop_at is not None and self.now >= self.stop_at


def find(server: Any, state: ClusterRun, monkeypatch: pytest.MonkeyPatch) -> RunState | None:
    monkeypatch.setattr(earlier, "time", server)
    return find_run(state, server, "team-1", server)


@pytest.mark.parametrize("phase", [PREPARING, KEPT])
def test_nothing_was_sent_yet_or_all_is_here(phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    assert find(server, record(phase), monkeypatch) is None
    assert server.looks == 0


@pytest.mark.parametrize("phase", [RUNNING, LEAVING])
def test_a_run_is_found_by_its_id(phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(Server(), record(phase, run_id="1"), monkeypatch) is RUN
    assert find(Server(there_at=None), record(phase, run_id="1"), monkeypatch) is None


def test_a_run_whose_id_nobody_wrote_down_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(Server(), record(SUBMITTING), monkeypatch) is RUN


def test_a_submission_that_is_still_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(there_at=6)
    assert find(server, record(SUBMITTING), monkeypatch) is RUN
    assert server.now < 1000 + SETTLE


def test_a_submission_that_never_arrived_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(there_at=None)
    assert find(server, record(SUBMITTING), monkeypatch) is None
    assert server.now > 1000 + SETTLE
    late = Server(there_at=None)
    assert find(late, record(SUBMITTING, began=500), monkeypatch) is None
    assert late.looks == 1  # it was sent long ago


def test_a_user_who_wants_to_stop_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoppedError):
        find(Server(there_at=None, stop_at=1001), record(SUBMITTING), monkeypatch)
