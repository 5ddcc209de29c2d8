"""The client is killed at any moment; the same command brings everything here and leaves nothing behind."""

import random
import signal
import subprocess
import sys

from tests.cluster.conftest import MakeProject
from tests.cluster.project import COPY, SPLIT, ClusterProject
from tests.cluster.standin import StandIn
from tests.support import ROOT, contents

DAG = ({"a": SPLIT, "b": COPY}, [["a", "b", 1]])


def start_and_kill(project: ClusterProject, number: int) -> tuple[int, str]:
    """Run the program and kill it at its n-th act; return its status and what it said."""
    command = [sys.executable, str(ROOT / "tests" / "kill_at.py"), str(number), str(int(signal.SIGKILL))]
    command += [str(project.folder / "count"), *project.arguments()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stderr


def test_the_same_command_after_a_kill_at_any_moment(server: StandIn, make_project: MakeProject, full: bool) -> None:
    project = make_project(server)
    project.steps(*DAG)
    status, err = start_and_kill(project, 0)
    assert status == 0, err
    acts = int((project.folder / "count").read_text())
    first = contents(project.runs()[-1] / "b")

    random.seed(20261124)
    count = 40 if full else 4
    # Acts are not spread evenly over a run: one of each part of it.
    moments = [random.randint(acts * part // count + 1, acts * (part + 1) // count) for part in range(count)]
    killed = 0
    for moment in moments:
        # Another medium: nothing that is in the store is of use.
        project.media(f"media of moment {moment} in {project.folder}\n", "clip.txt")
        status, err = start_and_kill(project, moment)
        assert status in (-9, 0), f"at act {moment} of {acts}: {err}"  # polls are fewer on a quick day
        killed += status == -9
        server.order("reset")

        outcome = project.succeed()

        assert set(contents(outcome.folder / "b")) == set(first), moment
        media = (project.folder / "media" / "clip.txt").read_text()
        assert contents(outcome.folder / "b")["b_1.txt"].decode() == f"{media}1\nand on\n", moment
        assert len(server.asked("POST", "/v2beta1/runs")) <= 1, moment
        assert list(project.place.glob(".cluster-*")) == [], moment
    assert killed >= count * 3 // 4
