"""The REST client against answers in the recorded form."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest

from src.errors import RunError
from src.kube.answers import NotFoundError
from src.kube.api import Api
from src.kube.runs import Experiment, read_run, read_time
from tests.unit.kube_fake import Asked, Fake, Reply, reply, server

EXPERIMENT = {
    "experiment_id": "3618205d",
    "display_name": "lab",
    "created_at": "2026-11-23T18:07:29Z",
    "namespace": "team-1",
    "storage_state": "AVAILABLE",
    "last_run_created_at": "1970-01-01T00:00:00Z",
}
NODE = {"run_id": "r1", "task_id": "t", "create_time": "2026-11-23T18:17:18Z"}
RUN = {
    "experiment_id": "3618205d",
    "run_id": "r1",
    "display_name": "night-1",
    "storage_state": "AVAILABLE",
    "service_account": "default-editor",
    "created_at": "2026-11-23T18:17:18Z",
    "scheduled_at": "2026-11-23T18:17:18Z",
    "finished_at": "1970-01-01T00:00:00Z",
    "state": "RUNNING",
    "state_history": [{"update_time": "2026-11-23T18:17:18Z", "state": "PENDING"}],
    "run_details": {
        "task_details": [
            {**NODE, "display_name": "b(0)", "state": "RUNNING", "start_time": "2026-11-23T18:18:09Z"},
            {**NODE, "display_name": "b", "state": "FAILED", "start_time": "2026-11-23T18:18:09Z",
             "end_time": "2026-11-23T18:18:29Z", "child_tasks": [{"pod_name": "x-1"}]},
            {**NODE, "display_name": "after-b", "end_time": "0001-01-01T00:00:00Z"},
        ]
    },
}  # fmt: skip
LAB = Experiment(id="3618205d", name="lab", namespace="team-1")


class Backend:
    """Answers by method and path below the API; a list is used up one by one, its last stays."""

    def __init__(self, multi_user: bool = True, **answers: Reply | list[Reply] | Callable[[Asked], Reply]) -> None:
        self.answers: dict[str, Any] = {
            "GET_healthz": reply({"tag_name": "2.17.0", "multi_user": multi_user}),
            **answers,
        }
        self.fake = Fake(self._answer)

    def _answer(self, asked: Asked) -> Reply:
        tail = asked.path.removeprefix("/pipeline/apis/v2beta1/").replace("/", "_").replace(":", "_")
        found = self.answers[f"{asked.method}_{tail}"]
        if callable(found):
            found = found(asked)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        assert isinstance(found, Reply)
        return found

    def open(self) -> Api:
        return Api(server(), transport=self.fake.connect(), patience=0)

    def asked(self, start: str) -> list[Asked]:
        return [one for one in self.fake.asked if f"{one.method} {one.path.rpartition('/')[2]}".startswith(start)]


def test_a_server_tells_what_it_is_once() -> None:
    backend = Backend()
    with backend.open() as api:
        assert api.health().version == "2.17.0"
        assert api.health().multi_user

    assert len(backend.fake.asked) == 1


def test_an_experiment_is_found_by_its_name_in_its_namespace() -> None:
    backend = Backend(GET_experiments=reply({"experiments": [EXPERIMENT], "total_size": 1}))

    assert backend.open().experiment("lab", "team-1") == LAB
    query = backend.asked("GET experiments")[0].query
    assert query["namespace"] == "team-1"
    assert json.loads(query["filter"])["predicates"] == [
        {"operation": "EQUALS", "key": "display_name", "string_value": "lab"}
    ]


def test_an_experiment_that_is_not_there_is_made() -> None:
    backend = Backend(GET_experiments=reply({}), POST_experiments=reply(EXPERIMENT))

    assert backend.open().experiment("lab", "team-1") == LAB
    assert backend.asked("POST experiments")[0].document == {"display_name": "lab", "namespace": "team-1"}


def test_an_experiment_that_somebody_made_meanwhile_is_taken() -> None:
    taken = reply({"code": 6, "message": "already exists"}, 409)
    backend = Backend(GET_experiments=[reply({}), reply({"experiments": [EXPERIMENT]})], POST_experiments=taken)

    assert backend.open().experiment("lab", "team-1") == LAB


def test_a_server_for_one_user_is_told_no_namespace() -> None:
    single = {name: value for name, value in EXPERIMENT.items() if name != "namespace"}
    backend = Backend(multi_user=False, GET_experiments=reply({}), POST_experiments=reply(single), GET_runs=reply({}))
    api = backend.open()

    assert api.experiment("lab", "team-1").namespace == ""
    assert api.find_runs("n", "team-1") == ()
    assert backend.asked("POST experiments")[0].document == {"display_name": "lab"}
    assert all("namespace" not in asked.query for asked in backend.fake.asked)


def test_a_run_is_created_in_the_recorded_form() -> None:
    backend = Backend(GET_runs=reply({}), POST_runs=reply({**RUN, "state": "PENDING"}))
    spec: dict[str, Any] = {"root": {"dag": {"tasks": {"a": {}}}}}

    run = backend.open().create_run(
        "night-1", LAB, pipeline_spec=spec, platform_spec={"platforms": {}}, service_account="default-editor"
    )

    assert (run.id, run.state) == ("r1", "PENDING")
    assert backend.asked("POST runs")[0].document == {
        "display_name": "night-1",
        "experiment_id": "3618205d",
        "pipeline_spec": {"pipeline_spec": spec, "platform_spec": {"platforms": {}}},
        "runtime_config": {"parameters": {}},
        "service_account": "default-editor",
    }


def test_a_run_of_that_name_is_not_created_twice() -> None:
    backend = Backend(GET_runs=reply({"runs": [RUN]}))

    run = backend.open().create_run("night-1", LAB, pipeline_spec={}, platform_spec={})

    assert run.id == "r1"
    assert not backend.asked("POST")


def test_an_answer_without_a_run_id_is_no_run() -> None:
    backend = Backend(GET_runs=reply({}), POST_runs=reply({"run": {"id": "v1"}}))

    with pytest.raises(RunError, match="has no run_id"):
        backend.open().create_run("night-1", LAB, pipeline_spec={}, platform_spec={})


def test_a_name_that_the_server_cannot_record_is_never_sent() -> None:
    backend = Backend()

    with pytest.raises(ValueError, match="256 characters"):
        backend.open().create_run("n" * 256, LAB, pipeline_spec={}, platform_spec={})

    assert not backend.fake.asked


def test_a_run_is_read_with_its_tasks() -> None:
    run = Backend(GET_runs_r1=reply(RUN)).open().get_run("r1")

    assert (run.name, run.state, run.is_final, run.finished) == ("night-1", "RUNNING", False, None)
    assert run.created == 1795457838
    task = run.task("b")
    assert task is not None
    assert (task.state, task.start, task.end) == ("FAILED", 1795457889, 1795457909)
    omitted = run.task("after-b")
    assert omitted is not None
    assert (omitted.state, omitted.end) == (None, None)
    assert run.task("nobody") is None


def test_a_state_that_is_absent_is_no_final_one() -> None:
    run = read_run({"run_id": "r1"})

    assert (run.state, run.is_final, run.tasks, run.error) == (None, False, (), "")


@pytest.mark.parametrize(
    ("state", "final"), [("SUCCEEDED", True), ("CANCELED", True), ("CANCELING", False), ("NEW", False)]
)
def test_only_four_states_are_final(state: str, final: bool) -> None:
    assert read_run({"run_id": "r1", "state": state}).is_final is final


def test_the_error_of_a_run_is_one_line() -> None:
    assert read_run({"run_id": "r", "error": {"code": 13, "message": "first\nsecond"}}).error == "first"


def test_times_that_have_not_come_are_none() -> None:
    assert [read_time(text) for text in ("1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "", "soon", None)] == [
        None
    ] * 5


def test_a_run_id_cannot_leave_its_path() -> None:
    backend = Backend()
    backend.fake.answer = lambda asked: reply(RUN)
    backend.open().get_run("../experiments?x")

    assert unquote(backend.fake.asked[-1].url).endswith("/runs/../experiments?x")
    assert backend.fake.asked[-1].path.endswith("/runs/..%2Fexperiments%3Fx")


def over(message: str = "Row not found") -> Reply:
    return reply({"code": 3, "message": f"Failed to terminate run r1: {message}"}, 400)


@pytest.mark.parametrize("state", ["SUCCEEDED", "CANCELING", "FAILED"])
def test_a_run_that_is_over_need_not_be_terminated(state: str) -> None:
    backend = Backend(POST_runs_r1_terminate=over(), GET_runs_r1=reply({**RUN, "state": state}))

    backend.open().terminate("r1")

    assert len(backend.asked("POST")) == 1


def test_a_run_that_goes_on_and_is_not_terminated_is_an_error() -> None:
    backend = Backend(POST_runs_r1_terminate=over("something else"), GET_runs_r1=reply(RUN))

    with pytest.raises(RunError, match="something else"):
        backend.open().terminate("r1")


def test_a_run_that_is_gone_need_not_be_terminated_and_cannot_be_read() -> None:
    gone = reply({"code": 5, "message": "Run r1 not found"}, 404)
    api = Backend(POST_runs_r1_terminate=gone, GET_runs_r1=gone).open()

    api.terminate("r1")
    with pytest.raises(NotFoundError, match="Run r1 not found"):
        api.get_run("r1")


def test_a_clean_up_uses_the_same_login() -> None:
    backend = Backend(POST_runs_r1_terminate=reply({}))
    with backend.open() as api:
        api.health()
        api.for_cleanup().terminate("r1")

    assert [asked.path.rpartition("/")[2] for asked in backend.fake.asked] == ["healthz", "r1:terminate"]
