"""The whole program on a cluster, as a user runs it."""

from tests.cluster.conftest import MakeProject
from tests.cluster.project import COPY, JOIN, SPLIT
from tests.cluster.standin import StandIn
from tests.support import contents

CHAIN = {"a": SPLIT, "b": COPY, "c": JOIN}
EDGES = [["a", "b", 1], ["b", "c", 1]]


def test_a_dag_runs_to_its_outputs_on_every_server(each_server: StandIn, make_project: MakeProject) -> None:
    project = make_project(each_server)
    project.steps(CHAIN, EDGES, {"c": {"join": True}})

    outcome = project.succeed()

    media = (project.folder / "media" / "clip.txt").read_text()
    assert contents(outcome.folder / "c") == {"c.txt": f"{media}0\nand on\n{media}1\nand on\n".encode()}
    assert set(contents(outcome.folder / "b")) == {"b_0.txt", "b_1.txt"}
    assert outcome.record["state"] == "done"
    assert outcome.ran == {"a": 1, "b": 2, "c": 1}
    assert (project.place / "latest").resolve() == outcome.folder
    assert "a_0" not in (outcome.folder / "logs" / "a.log").read_text()


def test_the_same_command_again_runs_nothing(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps(CHAIN, EDGES, {"c": {"join": True}})
    first = project.succeed()
    server.order("reset")

    again = project.succeed()

    assert again.ran == {}
    assert server.asked() == []
    assert contents(again.folder / "c") == contents(first.folder / "c")


def test_only_what_changed_is_run_again(server: StandIn, make_project: MakeProject) -> None:
    # The first run's claim has gone: what it made is taken to the second one's.
    project = make_project(server)
    project.media("another\n", "another.txt")
    project.steps(CHAIN, EDGES, {"c": {"join": True}})
    first = project.succeed()
    project.media("one more\n", "more.txt")
    project.steps({**CHAIN, "c": 'cat "$2"/* | tr a-z A-Z > "$4.txt"'}, EDGES, {"c": {"join": True}})

    again = project.succeed()

    assert first.ran == {"a": 2, "b": 4, "c": 1}
    assert again.ran == {"a": 1, "b": 2, "c": 1}
    before = contents(first.folder / "b")
    after = contents(again.folder / "b")
    assert {name: after[name] for name in before} == before
    assert contents(again.folder / "c") == {"c.txt": b"".join(after[name] for name in sorted(after)).upper()}
