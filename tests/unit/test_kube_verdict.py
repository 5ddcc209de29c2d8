"""Why tasks failed of which their journals say nothing."""

from typing import Any

import pytest

from src.kube.runs import RunState, TaskState
from src.kube.verdict import explain_pod, explain_run, is_driver, missing_ends, pods_of_tasks, printable

NAMES = {"save-media": "save-media", "A_b": "a-b", "s@0": "s-0", "s@1": "s-1"}


def pod(node: str, *, name: str = "p", status: dict[str, Any] | None = None, created: str = "") -> dict[str, Any]:
    notes = {"workflows.argoproj.io/node-name": node}
    return {
        "metadata": {"name": name, "annotations": notes, "creationTimestamp": created},
        "status": {"phase": "Failed", **(status or {})},
    }


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    others = {"name": "wait", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    return {"containerStatuses": [others, {"name": "main", "state": state}]}


def state(**tasks: str | None) -> RunState:
    found = tuple(
        TaskState(name=name.replace("_", "-"), state=one, start=None, end=None) for name, one in tasks.items()
    )
    return RunState(id="r", name="n", state="FAILED", created=None, finished=None, error="", tasks=found)


@pytest.mark.parametrize(
    "node", ["wf-1.root.a-b.executor", "wf-1(0).root(0).a-b(0).executor(0)", "wf-1.root.a-b(2).executor(1)"]
)
def test_pods_are_known_by_their_node_on_every_server(node: str) -> None:
    assert list(pods_of_tasks([pod(node)], NAMES)) == ["A_b"]
    assert not is_driver(pod(node))


@pytest.mark.parametrize("node", ["", "wf-1.root.a-b-driver", "wf.root.other.executor", "executor", "wf-1.root-driver"])
def test_other_pods_are_passed_over(node: str) -> None:
    assert pods_of_tasks([pod(node)], NAMES) == {}


def test_driver_pods_are_told() -> None:
    assert is_driver(pod("wf(0).root(0).a-b-driver(0)"))
    assert is_driver(pod("wf.root.a-b-driver"))


def test_the_last_pod_of_a_task_counts() -> None:
    pods = [pod("w.root.s-0.executor", name="new", created="2"), pod("w.root.s-0.executor", name="old", created="1")]
    assert pods_of_tasks(pods, NAMES)["s@0"]["metadata"]["name"] == "new"


def test_only_tasks_without_an_end_of_their_own_get_one() -> None:
    found = state(save_media="SUCCEEDED", a_b="FAILED", s_0="FAILED", s_1=None)
    made = missing_ends(NAMES, NAMES, found, ended=["save-media", "s@0"], begun=["save-media", "s@0"], pods={})
    assert list(made) == ["A_b"]
    assert made["A_b"]["state"] == "failed"
    assert "could not start" in made["A_b"]["message"]


def test_a_task_that_began_and_has_no_end_has_failed() -> None:
    found = state(s_1="RUNNING")
    made = missing_ends(NAMES, NAMES, found, ended=[], begun=["s@1"], pods={})
    assert made["s@1"]["message"] == "its pod was removed while it ran"


@pytest.mark.parametrize(
    ("status", "begun", "message", "hint"),
    [
        (ended(137, "OOMKilled"), True, "ran out of memory", "`memory`"),
        (ended(137), True, "SIGKILL", "`memory`"),
        (
            {"reason": "Evicted", "message": "The node was low on resource"},
            True,
            "evicted: The node was low",
            "again|on",
        ),
        ({"reason": "DeadlineExceeded"}, True, "ended by the cluster: DeadlineExceeded", "same command"),
        (ended(127, message="exec: python3: not found"), False, "could not start: exec: python3", "python3"),
        (ended(128, "StartError", "no such file"), False, "could not start: no such file", "python3"),
        (ended(1), False, "ended with status 1 before the step began", "last lines"),
        (ended(1), True, "ended with status 1 in the middle", "same command"),
        (ended(0, "Completed"), True, "its pod ended in the middle", "same command"),
        ({"message": "Pod was rejected\nmore"}, False, "before the step began: Pod was rejected", ""),
        ({}, False, "before the step began: Failed", ""),
    ],
)
def test_a_pod_tells_how_it_ended(status: dict[str, Any], begun: bool, message: str, hint: str) -> None:
    said, then = explain_pod(pod("w.root.a-b.executor", status=status), begun=begun)
    assert message in said
    assert any(word in then for word in hint.split("|"))


def test_a_run_of_which_no_task_says_why_is_told_by_its_drivers() -> None:
    assert "does not say why" in explain_run(state(), [])
    assert "KFP driver: error: no claim" in explain_run(state(), ["I0101 start", "KFP driver: error: no claim", "end"])


def test_lines_move_no_cursor() -> None:
    assert printable(["a\x1b[2Jb\tc", "é"]) == ["a?[2Jb\tc", "é"]
