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
