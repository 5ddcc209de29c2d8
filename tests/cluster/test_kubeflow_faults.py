"""Servers, gateways and sessions that fail while a run goes on: the run goes well all the same."""

import time

import pytest

from tests.cluster.conftest import MakeProject
from tests.cluster.project import SPLIT
from tests.cluster.standin import StandIn, until
from tests.cluster.test_kubeflow_failures import cluster_record, finish, wait_for_run, wait_for_step
from tests.support import check_error

DAG = ({"a": SPLIT, "b": 'sleep 5; cp "$2" "$4.txt"'}, [["a", "b", 1]])
DONE = {"a": 1, "b": 2}
FAULTS: list[dict[str, object]] = [
    {"kind": "status", "status": 503, "count": 6},
    {"kind": "reset", "count": 3},
    {"kind": "html", "count": 3},
    {"kind": "lost-reply", "count": 1, "method": "POST"},
]
MORE_FAULTS: list[dict[str, object]] = [
    {"kind": "status", "status": 502, "count": 3, "method": "GET"},
    {"kind": "truncate", "count": 2},
    {"kind": "status", "status": 401, "count": 2},
    {"kind": "slow", "seconds": 8, "count": 2},
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault" in metafunc.fixturenames:
        faults = [*FAULTS, *(MORE_FAULTS if metafunc.config.getoption("--full") else [])]
        names = ["-".join(str(one[word]) for word in ("kind", "status") if word in one) for one in faults]
        metafunc.parametrize("fault", faults, ids=names)


def test_a_server_that_fails_for_a_while_does_no_harm(
    server: StandIn, make_project: MakeProject, fault: dict[str, object]
) -> None:
    project = make_project(server)
    project.steps(*DAG)
    late = 4 if fault["kind"] != "lost-reply" else 0
    server.order("fault", path="/apis/", skip=late, **fault)

    outcome = project.succeed()

    assert outcome.ran == DONE
    assert len({line for line in server.asked("POST", "/runs") if line.endswith(" 200")}) <= 1


def test_an_outage_of_half_a_minute_in_the_middle_is_waited_for(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps(*DAG)
    process = project.start()
    wait_for_run(project)

    server.order("fault", kind="status", status=503, count=100_000, path="/")
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 30 or None, 40)
    server.order("reset")
    outcome = finish(process)

    assert outcome.status == 0, outcome.err
    assert outcome.ran == DONE
    assert "answers 503" in outcome.err


def test_sessions_that_end_every_five_seconds_are_renewed(each_server: StandIn, make_project: MakeProject) -> None:
    project = make_project(each_server)
    project.steps(*DAG)
    each_server.order("session-ttl", seconds=5)
    process = project.start()
    wait_for_run(project)

    # Kubeflow 1.9 renews its cookies: who keeps the newest has a session that ends in no other way.
    each_server.order("expire-sessions")
    outcome = finish(process)

    assert outcome.status == 0, outcome.err
    assert outcome.ran == DONE
    assert each_server.logins() >= 2


def test_a_run_that_the_server_says_is_cancelled_is_told_as_that(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps(*DAG)
    process = project.start()
    run_id = wait_for_run(project)
    wait_for_step(project, "b")

    server.order("set-run-state", run_id=run_id, state="CANCELED")
    outcome = finish(process)

    assert outcome.status == 5
    check_error(outcome)
    assert "was ended on the server" in outcome.err
    assert project.succeed().ran.get("a") is None


def test_a_wrong_password_is_told_before_anything_is_left(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server, DEX_USERNAME="user1@example.com", DEX_PASSWORD="wrong")
    project.steps(*DAG)

    outcome = project.fail(5)

    assert "wrong user name or password" in outcome.err
    assert "kept until" not in outcome.err
    assert cluster_record(project) == {}


def test_a_volume_that_cannot_be_written_is_told_and_left_to_nobody(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server, STORAGE_SIZE="1Gi", STORAGE_CLASS="no-such-class")
    project.steps(*DAG)

    outcome = project.fail(5)

    assert "no storage class no-such-class" in outcome.err
    assert cluster_record(project) == {}
