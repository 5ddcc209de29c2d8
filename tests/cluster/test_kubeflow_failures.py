"""What goes wrong on a cluster, or on the way there: the right status, nothing lost, and the same command goes on."""

import json
import signal
import subprocess

from src.kube.runs import RunState
from tests.cluster.conftest import MakeProject
from tests.cluster.project import COPY, SPLIT, ClusterProject, kube
from tests.cluster.standin import StandIn, until
from tests.support import Outcome, check_error, contents

SLOW = 'sleep 10; cp "$2" "$4.txt"'
WAIT_FOR_EVER = 'sleep 3600; cp "$2" "$4.txt"'
EDGES = [["a", "b", 1]]


def cluster_record(project: ClusterProject) -> dict[str, str]:
    """Return the record of what the project has on the cluster; {} where there is none."""
    found = list(project.place.glob(".cluster-*.json"))
    return dict(json.loads(found[0].read_bytes())) if found else {}


def wait_for_run(project: ClusterProject) -> str:
    """Wait until a run of the project is submitted, and return its id on the server."""
    return until(lambda: cluster_record(project).get("id"), 120)


def wait_for_step(project: ClusterProject, step: str, *, pods: str = "Running") -> None:
    """Wait until the pod of a step runs."""
    cluster, run_id = kube(), wait_for_run(project)

    def runs() -> bool | None:
        for pod in cluster.find("pods", labels=f"pipeline/runid={run_id}")[0]:
            node = pod["metadata"].get("annotations", {}).get("workflows.argoproj.io/node-name", "")
            if f".{step}" in node and node.rstrip("(0)").endswith("executor") and pod["status"]["phase"] == pods:
                return True
        return None

    until(runs, 120)


def run_state(project: ClusterProject, run_id: str) -> RunState:
    with project.server.open() as api:
        return api.get_run(run_id)


def finish(process: "subprocess.Popen[bytes]") -> Outcome:
    out, err = process.communicate(timeout=300)
    return Outcome(process.returncode, out.decode(), err.decode())


def clean(project: ClusterProject) -> None:
    """Let the project's next run go well, so that nothing is left on the cluster."""
    project.succeed()


def test_a_failed_step_is_told_and_the_same_command_runs_only_what_is_missing(
    each_server: StandIn, make_project: MakeProject
) -> None:
    project = make_project(each_server)
    broken = 'echo "no such thing"; exit 3'
    project.steps({"a": SPLIT, "b": broken, "c": COPY}, [["a", "b", 1], ["a", "c", 1]])

    outcome = project.fail(5)

    assert "step b on b_0: exited with status 3" in outcome.err
    assert "  no such thing" in outcome.err
    assert "kept until" in outcome.err
    (folder,) = project.runs()
    assert set(contents(folder / "a")) == {"a_0.txt", "a_1.txt"}
    assert "no such thing" in (folder / "logs" / "b.log").read_text()
    states = {step["step"]: step["state"] for step in json.loads((folder / "run.json").read_bytes())["steps"]}
    assert states["a"] == "done"
    assert states["b"] == "failed"

    project.steps({"a": SPLIT, "b": COPY, "c": COPY}, [["a", "b", 1], ["a", "c", 1]])
    again = project.succeed()

    assert again.ran == {"b": 2, **({} if states["c"] == "done" else {"c": 2})}
    assert set(contents(again.folder / "b")) == {"b_0.txt", "b_1.txt"}


def test_a_step_that_cannot_start_ends_the_run_with_the_reason(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps({"a": SPLIT, "b": COPY}, EDGES, {"b": {"secrets": {"KEY": "no-such-secret/key"}}})

    outcome = project.fail(5)

    assert "step b cannot start: there is no secret no-such-secret" in outcome.err
    assert run_state(project, cluster_record(project)["id"]).is_final
    assert set(contents(project.runs()[0] / "a")) == {"a_0.txt", "a_1.txt"}

    project.steps({"a": SPLIT, "b": COPY}, EDGES)
    assert project.succeed().ran == {"b": 2}


def test_a_place_that_no_node_has_is_told_before_anything_runs(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps({"a": SPLIT, "b": COPY}, EDGES, {"b": {"node_selector": {"autopipe.test/none": "here"}}})

    outcome = project.fail(5)

    assert "no node has the labels of its option `node_selector`" in outcome.err
    assert cluster_record(project) == {}
    assert server.asked("POST", "/runs") == []


def test_an_image_without_python_is_told_with_what_it_needs(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps({"a": SPLIT, "bare": COPY}, [["a", "bare", 1]])
    (project.folder / "components" / "bare" / "Dockerfile").write_text("FROM autopipe.test/busybox:1\nUSER 1000\n")

    outcome = project.fail(5)

    assert "python3" in outcome.err
    assert "3.8 or newer" in outcome.err
    (project.folder / "components" / "bare" / "Dockerfile").unlink()
    assert project.succeed().ran == {"bare": 2}


def test_more_memory_than_there_is_ends_a_step_with_the_reason(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    eat = 'python3 -c \'print(len(bytearray(200 << 20)))\'; cp "$2" "$4.txt"'
    project.steps({"a": eat}, [], {"a": {"memory": "64Mi"}})

    outcome = project.fail(5)

    assert "memory" in outcome.err
    project.steps({"a": COPY})
    project.succeed()


def test_ctrl_c_ends_the_run_and_keeps_what_it_made(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps({"a": SPLIT, "b": WAIT_FOR_EVER}, EDGES)
    process = project.start()
    run_id = wait_for_run(project)
    wait_for_step(project, "b")

    process.send_signal(signal.SIGINT)
    outcome = finish(process)

    assert outcome.status == 130, outcome.err
    check_error(outcome)
    assert run_state(project, run_id).is_final
    assert kube().find("pods", labels=f"pipeline/runid={run_id}")[0] == []

    project.steps({"a": SPLIT, "b": COPY}, EDGES)
    assert project.succeed().ran == {"b": 2}


def test_a_run_that_takes_too_long_is_ended(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server, RUN_TIMEOUT="25s")
    project.steps({"a": SPLIT, "b": WAIT_FOR_EVER}, EDGES)

    outcome = project.fail(5)

    assert "the run takes longer than 25 s (RUN_TIMEOUT)" in outcome.err
    assert run_state(project, cluster_record(project)["id"]).is_final
    project.steps({"a": SPLIT, "b": COPY}, EDGES)
    assert project.succeed().ran.get("b") == 2


def test_a_run_that_is_left_detached_is_taken_up_again(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps({"a": SPLIT, "b": SLOW}, EDGES)

    outcome = project.run("--detach")

    assert outcome.status == 0, outcome.err
    assert outcome.out == ""
    run_id = cluster_record(project)["id"]
    again = project.succeed()

    assert f"going on with run {run_id}" in again.err
    assert again.ran == {"a": 1, "b": 2}
    assert len(server.asked("POST", "/runs")) == 1


def test_another_plan_ends_the_run_that_is_there_and_takes_over_what_it_made(
    server: StandIn, make_project: MakeProject
) -> None:
    project = make_project(server)
    project.steps({"a": SPLIT, "b": WAIT_FOR_EVER}, EDGES)
    project.run("--detach")
    run_id = cluster_record(project)["id"]
    wait_for_step(project, "b")
    project.steps({"a": SPLIT, "b": COPY}, EDGES)

    outcome = project.succeed()

    assert outcome.ran == {"b": 2}
    assert run_state(project, run_id).state == "FAILED"


def test_a_run_that_is_ended_in_the_ui_is_told_as_that(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps({"a": SPLIT, "b": WAIT_FOR_EVER}, EDGES)
    process = project.start()
    run_id = wait_for_run(project)
    wait_for_step(project, "b")

    with server.open() as api:
        api.terminate(run_id)
    outcome = finish(process)

    assert outcome.status == 5
    check_error(outcome)
    assert "was ended on the server" in outcome.err
    project.steps({"a": SPLIT, "b": COPY}, EDGES)
    assert project.succeed().ran == {"b": 2}
