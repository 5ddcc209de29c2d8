"""A run is followed to its end, whatever that is."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from src.errors import RunError
from src.kube import follow
from src.kube.answers import NotFoundError
from src.kube.cut import CutError
from src.kube.follow import Follower, GoneError, StuckError, TimeoutRunError
from src.kube.journals import Journals
from src.kube.patience import StoppedError
from src.kube.runs import RunState, TaskState
from src.kube.verdict import Pod
from src.progress import Progress

POD: Pod = {"metadata": {"name": "p"}, "status": {"phase": "Pending"}}


def state(name: str | None, *tasks: str) -> RunState:
    found = tuple(TaskState(name=task, state="RUNNING", start=None, end=None) for task in tasks)
    return RunState(id="r", name="n", state=name, created=None, finished=None, error="", tasks=found)


class Clock:
    """The time of a test: it goes on when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self.stop_at: float | None = None

    def time(self) -> float:
        return self.now

    monotonic = time

    def wait(self, seconds: float, /) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return self.stop_at is not None and self.now >= self.stop_at


class Scene:
    """A server, pods and a volume; each round takes the next state, the last one for ever."""

    def __init__(self, *states: RunState | Exception, pods: Sequence[Pod] = (POD,)) -> None:
        self.states = list(states)
        self.found = list(pods)
        self.why: list[RunError | None] = [None]
        self.told: list[tuple[str, int, bytes]] = []
        self.ended: list[set[str]] = []
        self.rounds = 0

    def get_run(self, run_id: str) -> RunState:
        assert run_id == "r"
        self.rounds += 1
        found = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(found, Exception):
            raise found
        return found

    def pods(self) -> list[Pod]:
        return self.found

    def stuck(self, pods: Iterable[Pod]) -> RunError | None:
        return self.why.pop(0) if len(self.why) > 1 else self.why[0]

    def tail(self) -> Iterator[tuple[str, int, bytes]]:
        told, self.told = self.told, []
        yield from told

    def look(self, ended: Collection[str]) -> None:
        self.ended.append(set(ended))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(follow, "time", made)
    return made


def follower(scene: Any, clock: Clock, logs: Path, *, timeout: float | None = None, began: float = 1000) -> Follower:
    return Follower(
        api=scene,
        look=scene,
        tail=scene.tail,
        journals=Journals({"run": "now", "tasks": {}, "steps": {}, "media": []}, Progress()),
        logs=logs,
        stop=clock,
        timeout=timeout,
        began=began,
        echo=None,
        ended=scene.look,
    )


def test_a_run_that_went_well_is_not_waited_for_any_longer(clock: Clock, tmp_path: Path) -> None:
    scene = Scene(state(None), state("PENDING"), state("RUNNING", "a"), state("SUCCEEDED", "a"))
    final, pods = follower(scene, clock, tmp_path).follow("r")
    assert final.state == "SUCCEEDED"
    assert pods == [POD]
    assert len(clock.waits) == 3
    assert all(2 <= seconds <= 5 for seconds in clock.waits)


def test_the_tasks_of_a_run_that_failed_are_read_once_more_when_they_are_right(clock: Clock, tmp_path: Path) -> None:
    scene = Scene(state("RUNNING", "a"), state("FAILED", "a"), state("FAILED", "a", "b"))
    final, _ = follower(scene, clock, tmp_path).follow("r")
    assert [task.name for task in final.tasks] == ["a", "b"]
    assert clock.waits[-1] == follow.SETTLE


def test_pauses_grow_and_not_too_far(clock: Clock, tmp_path: Path) -> None:
    scene = Scene(*[state("RUNNING", "a")] * 200, state("SUCCEEDED"))
    follower(scene, clock, tmp_path).follow("r")
    assert clock.waits == sorted(clock.waits)
    assert clock.waits[-1] == follow.LONGEST


def test_a_pod_that_cannot_start_ends_it(clock: Clock, tmp_path: Path) -> None:
    scene = Scene(state("RUNNING", "a"))
    scene.why = [None, None, StuckError("no such image")]
    with pytest.raises(StuckError, match="no such image"):
        follower(scene, clock, tmp_path).follow("r")
    assert scene.rounds == 3


def test_a_server_that_starts_nothing_is_told(clock: Clock, tmp_path: Path) -> None:
    scene = Scene(state("RUNNING"), pods=())
    with pytest.raises(StuckError, match="has started nothing for 180 s") as caught:
        follower(scene, clock, tmp_path).follow("r")
    assert "service account" in caught.value.hint


@pytest.mark.parametrize(
    "scene", [Scene(state("RUNNING")), Scene(state("RUNNING", "a"), pods=()), Scene(state("PENDING"), pods=())]
)
def test_with_a_pod_or_a_task_it_is_waited_for(scene: Scene, clock: Clock, tmp_path: Path) -> None:
    clock.stop_at = clock.now + 1000
    with pytest.raises(StoppedError):
        follower(scene, clock, tmp_path).follow("r")


def test_a_cluster_that_shows_nothing_for_a_while_ends_nothing(clock: Clock, tmp_path: Path) -> None:
    class Away(Scene):
        def tail(self) -> Iterator[tuple[str, int, bytes]]:
            if self.rounds < 3:
                raise CutError("the API server is away")
            return super().tail()

    scene = Away(state("RUNNING", "a"), state("RUNNING", "a"), state("RUNNING", "a"), state("SUCCEEDED"))
    scene.told = [(".autopipe/logs/a.log", 0, b"hello")]
    final, _ = follower(scene, clock, tmp_path).follow("r")
    assert final.state == "SUCCEEDED"
    assert (tmp_path / "a.log").read_bytes() == b"hello"


def test_the_time_of_a_run_counts_from_its_submission(clock: Clock, tmp_path: Path) -> None:
    scene = Scene(state("RUNNING", "a"))
    with pytest.raises(TimeoutRunError, match=r"longer than 60 s \(RUN_TIMEOUT\)"):
        follower(scene, clock, tmp_path, timeout=60, began=clock.now - 50).follow("r")
    assert 10 < sum(clock.waits) < 16


def test_a_run_that_is_over_is_in_time(clock: Clock, tmp_path: Path) -> None:
    scene = Scene(state("SUCCEEDED"))
    final, _ = follower(scene, clock, tmp_path, timeout=60, began=clock.now - 500).follow("r")
    assert final.state == "SUCCEEDED"


def test_a_run_that_was_deleted_is_told(clock: Clock, tmp_path: Path) -> None:
    scene = Scene(state("RUNNING", "a"), NotFoundError("gone", status=404))
    with pytest.raises(GoneError, match="was deleted on the server"):
        follower(scene, clock, tmp_path).follow("r")


@pytest.mark.parametrize(
    ("states", "cancelled"),
    [(["RUNNING", "CANCELING", "FAILED"], True), (["RUNNING", "CANCELED"], True), (["RUNNING", "FAILED"], False)],
)
def test_a_run_that_somebody_ended_is_known(clock: Clock, tmp_path: Path, states: list[str], cancelled: bool) -> None:
    watched = follower(Scene(*[state(one, "a") for one in states]), clock, tmp_path)
    watched.follow("r")
    assert watched.cancelled == cancelled


def test_a_stop_ends_it_at_once(clock: Clock, tmp_path: Path) -> None:
    clock.stop_at = clock.now
    scene = Scene(state("RUNNING", "a"))
    with pytest.raises(StoppedError):
        follower(scene, clock, tmp_path).follow("r")
    assert scene.rounds == 1


def test_logs_are_written_where_they_belong(clock: Clock, tmp_path: Path) -> None:
    scene = Scene(state("RUNNING", "a"), state("SUCCEEDED"))
    scene.told = [(".autopipe/logs/a.log", 0, b"hello "), (".autopipe/logs/a.log", 6, b"world\n")]
    watched = follower(scene, clock, tmp_path)
    printed: list[bytes] = []
    watched.echo = printed.append
    watched.follow("r")
    assert (tmp_path / "a.log").read_bytes() == b"hello world\n"
    assert printed == [b"hello ", b"world\n"]
    assert scene.ended == [set(), set()]


def test_a_log_that_cannot_be_written_ends_nothing(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(state("SUCCEEDED"))
    scene.told = [(".autopipe/logs/a.log", 0, b"hello")]
    final, _ = follower(scene, clock, tmp_path / "missing").follow("r")
    assert final.state == "SUCCEEDED"
