"""The REST client against servers that run real pods, whole and with faults."""

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from src.kube.answers import NotFoundError, OutageError
from src.kube.api import Api
from src.kube.patience import StoppedError
from src.kube.runs import RunState
from src.kube.transport import Transport
from src.kube.unreachable import Cause, UnreachableError
from tests.cluster.conftest import FLAVOURS
from tests.cluster.standin import NAMESPACE, StandIn, pipeline, stand_in, until, variable

EXPERIMENT = "autopipe-test"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A server and the runs that a test made on it, which go when the test ends."""

    server: StandIn
    made: list[str] = field(default_factory=list)

    def name(self) -> str:
        self.made.append(f"{EXPERIMENT}-{uuid.uuid4()}")
        return self.made[-1]

    def run(self, api: Api, spec: dict[str, Any], name: str | None = None) -> RunState:
        return api.create_run(
            name or self.name(),
            api.experiment(EXPERIMENT, NAMESPACE),
            pipeline_spec=spec,
            platform_spec={"platforms": {}},
        )

    def remove(self) -> None:
        self.server.order("reset")
        with self.server.open() as api, Transport(authority=self.server.server().authority) as transport:
            token = {"Authorization": f"Bearer {variable('KFP_LAB_TOKEN')}"}
            for run in [run for name in self.made for run in api.find_runs(name, NAMESPACE)]:
                answer = transport.send("DELETE", f"{self.server.url}/apis/v2beta1/runs/{run.id}", headers=token)
                assert answer.status == 200


@pytest.fixture(params=FLAVOURS.values(), ids=list(FLAVOURS))
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    yield from _bench(request.param, tmp_path)


@pytest.fixture
def today(tmp_path: Path) -> Iterator[Bench]:
    yield from _bench("", tmp_path)


def _bench(suffix: str, folder: Path) -> Iterator[Bench]:
    with stand_in(suffix, folder) as server:
        bench = Bench(server=server)
        try:
            yield bench
        finally:
            bench.remove()


def end_of(api: Api, run: RunState) -> RunState:
    """Wait for the end of a run, and for the tasks' last states, which are late."""

    def ended() -> RunState | None:
        found = api.get_run(run.id)
        return found if found.is_final and all(task.state != "RUNNING" for task in found.tasks) else None

    return until(ended)


def test_a_run_is_followed_to_its_end(each: Bench) -> None:
    with each.server.open() as api:
        run = each.run(api, pipeline("echo a", after="echo b"))
        end = end_of(api, run)

        assert run.state in ("PENDING", None)
        assert (end.id, end.name, end.state) == (run.id, each.made[0], "SUCCEEDED")
        assert end.finished is not None
        assert end.created is not None
        assert end.finished >= end.created
        assert [getattr(end.task(name), "state", "") for name in "ab"] == ["SUCCEEDED", "SUCCEEDED"]
        assert [found.id for found in api.find_runs(each.made[0], NAMESPACE)] == [run.id]


def test_a_failed_task_shows_and_what_is_after_it_has_no_state(each: Bench) -> None:
    with each.server.open() as api:
        end = end_of(api, each.run(api, pipeline("exit 3", after="echo b")))

        task, after = end.task("a"), end.task("b")
        assert end.state == "FAILED"
        assert task is not None
        assert task.state == "FAILED"
        assert after is None or after.state is None


def test_the_same_submission_again_gives_the_same_run(each: Bench) -> None:
    name = each.name()
    with each.server.open() as api, each.server.open() as other:
        first = each.run(api, pipeline(), name)
        second = each.run(other, pipeline(), name)

        assert first.id == second.id
        assert len(api.find_runs(name, NAMESPACE)) == 1


@pytest.mark.parametrize(("kind", "sent"), [("lost-reply", 1), ("truncate", 1), ("html", 2)])
def test_a_submission_whose_answer_is_spoilt_makes_one_run(each: Bench, kind: str, sent: int) -> None:
    with each.server.open() as api:
        api.experiment(EXPERIMENT, NAMESPACE)
        each.server.order("fault", kind=kind, method="POST", path="/runs", count=1)
        run = each.run(api, pipeline())

        assert [found.id for found in api.find_runs(each.made[0], NAMESPACE)] == [run.id]
        assert len(each.server.asked("POST", "/apis/v2beta1/runs")) == sent


def test_a_submission_that_never_arrives_is_sent_again(today: Bench) -> None:
    with today.server.open() as api:
        api.experiment(EXPERIMENT, NAMESPACE)
        today.server.order("fault", kind="reset", method="POST", path="/runs", count=1)
        run = today.run(api, pipeline())

        assert [found.id for found in api.find_runs(today.made[0], NAMESPACE)] == [run.id]


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_submission_that_a_gateway_refuses_makes_one_run(today: Bench, status: int) -> None:
    with today.server.open() as api:
        api.experiment(EXPERIMENT, NAMESPACE)
        today.server.order("fault", kind="status", status=status, method="POST", path="/runs", count=1)
        run = today.run(api, pipeline())

        assert [found.id for found in api.find_runs(today.made[0], NAMESPACE)] == [run.id]


def test_an_experiment_whose_answer_is_lost_is_made_once(today: Bench) -> None:
    name = f"autopipe-test-{uuid.uuid4()}"
    with today.server.open() as api:
        api.health()
        today.server.order("fault", kind="lost-reply", method="POST", path="/experiments", count=1)
        first = api.experiment(name, NAMESPACE)

        assert first.name == name
        assert api.experiment(name, NAMESPACE) == first


def test_an_experiment_that_several_make_at_once_is_one(each: Bench) -> None:
    name = f"autopipe-test-{uuid.uuid4()}"

    def make(_: int) -> str:
        with each.server.open() as api:
            return api.experiment(name, NAMESPACE).id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(make, range(8)))) == 1


def test_a_run_is_followed_through_all_that_goes_wrong(each: Bench) -> None:
    faults: list[dict[str, object]] = [
        {"kind": "status", "status": 503, "count": 4},
        {"kind": "reset", "count": 2},
        {"kind": "html", "count": 3},
        {"kind": "truncate", "count": 1},
        {"kind": "status", "status": 401, "count": 1},
        {"kind": "status", "status": 403, "count": 1},
        {"kind": "status", "status": 502, "count": 1},
    ]
    with each.server.open() as api:
        run = each.run(api, pipeline("sleep 2"))
        for fault in faults:
            each.server.order("fault", method="GET", **fault)
            assert api.get_run(run.id).id == run.id

        assert end_of(api, run).state == "SUCCEEDED"


def test_a_run_is_followed_through_sessions_that_end_all_the_time(each: Bench) -> None:
    with each.server.open() as api:
        each.server.order("session-ttl", seconds=1)
        run = each.run(api, pipeline("sleep 3"))

        assert end_of(api, run).state == "SUCCEEDED"
        assert each.server.logins() >= 3


def test_a_terminated_run_ends_as_failed(each: Bench) -> None:
    with each.server.open() as api:
        run = each.run(api, pipeline("sleep 600"))
        until(lambda: api.get_run(run.id).state == "RUNNING" or None)
        each.server.order("fault", kind="lost-reply", path=":terminate", count=1)
        api.terminate(run.id)
        api.terminate(run.id)

        assert end_of(api, run).state == "FAILED"
        api.terminate(run.id)


def test_a_run_that_is_cancelled_elsewhere_is_over(today: Bench) -> None:
    with today.server.open() as api:
        run = today.run(api, pipeline("sleep 600"))
        today.server.order("set-run-state", run_id=run.id, state="CANCELED")

        assert until(lambda: found if (found := api.get_run(run.id)).is_final else None).state == "CANCELED"


def test_a_pipeline_that_the_server_does_not_want_is_refused_in_one_line(each: Bench) -> None:
    spec = pipeline(after="echo b")
    spec["root"]["dag"]["tasks"]["a"]["dependentTasks"] = ["b"]
    broken = pipeline()
    broken["root"]["dag"]["tasks"]["a"]["componentRef"]["name"] = "comp-nobody"
    with each.server.open() as api:
        with pytest.raises(OutageError, match="graph with cycle"):
            each.run(api, spec)
        with pytest.raises(OutageError, match="cannot find component ref") as caught:
            each.run(api, broken)

    assert "\n" not in caught.value.message
    assert "github.com" not in caught.value.message
    assert len(each.server.asked("POST", "/apis/v2beta1/runs")) == 2


def test_a_run_that_is_not_there_is_told(each: Bench) -> None:
    unknown = str(uuid.uuid4())
    with each.server.open() as api:
        with pytest.raises(NotFoundError, match=f"Run {unknown} not found"):
            api.get_run(unknown)
        api.terminate(unknown)


def test_a_wish_to_stop_ends_an_outage_and_the_run_can_still_be_ended(today: Bench) -> None:
    stop = threading.Event()
    with today.server.open(stop=stop) as api:
        run = today.run(api, pipeline("sleep 600"))
        today.server.order("fault", kind="status", status=503, method="GET", count=1000)
        timer = threading.Timer(1, stop.set)
        timer.start()
        start = time.monotonic()
        with pytest.raises(StoppedError):
            api.get_run(run.id)
        timer.join()

        assert time.monotonic() - start < 10
        today.server.order("reset")
        last = api.for_cleanup()
        last.terminate(run.id)
        assert end_of(last, run).state == "FAILED"


def test_an_outage_that_does_not_end_is_told(today: Bench) -> None:
    with today.server.open(patience=2) as api:
        api.health()
        today.server.order("fault", kind="status", status=503, count=1000)

        with pytest.raises(OutageError, match="answers 503: no healthy upstream"):
            api.find_runs("no such run", NAMESPACE)


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(today: Bench) -> None:
    today.server.order("fault", kind="slow", seconds=3, path="/ping", count=1)
    server = today.server.server()

    with Transport(authority=server.authority) as transport, pytest.raises(UnreachableError) as caught:
        transport.send("GET", f"https://{server.host}/ping", read=0.5)

    assert (caught.value.cause, caught.value.sent) == (Cause.TIMEOUT, True)
