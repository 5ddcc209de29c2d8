"""The tool and the engine killed at any moment: the same command goes on, and nothing of ours is left in the engine."""

import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.engines import Engine, private_engine
from tests.integration.on_targets import BASE, TargetProject, client, docked, ours, users_own
from tests.integration.test_docker_target import HOLDS
from tests.integration.test_process_kills import SEED, check_resumption, sums
from tests.integration.test_targets import steps_of
from tests.support import ROOT, contents, read_record

__all__ = ["client", "docked"]

Client = docker.DockerClient


@pytest.fixture
def sample(docked: TargetProject) -> TargetProject:
    """A fan-out, shards, a fan-in, a join; small, for each step is a container."""
    docked.media("a clip\n")
    docked.component("shots", 'for n in 0 1 2 3; do { echo "shot $n"; cat "$in"; } > "${out}_$n.mp4"; done')
    docked.component("frames", 'echo half > "$out-1.jpg"; cat "$in" >> "$out-1.jpg"; cp "$in" "$out-2.jpg"')
    docked.component("trails", 'cat "$in" "$in" > "$out.png"')
    docked.component("poster", 'cat "$in"/* > "$out"')
    edges = [("shots", "frames", 1), ("shots", "trails", 1), ("frames", "poster", 1), ("trails", "poster", 1)]
    options: dict[str, dict[str, Any]] = {"poster": {"join": True}, "frames": {"shards": 2}}
    docked.write(["shots", "frames", "trails", "poster"], edges, options=options)
    return docked


def start_to_kill(project: TargetProject, number: int) -> "subprocess.Popen[bytes]":
    """Start the program, to be killed at its n-th act on the disk or call of the engine; 0: count them."""
    command = [sys.executable, str(ROOT / "tests" / "kill_at.py"), str(number), str(int(signal.SIGKILL))]
    command += [str(project.folder / "acts"), *project.arguments()]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_tool_killed_at_any_moment(sample: TargetProject, client: Client, full: bool) -> None:
    sample.succeed()  # images are built
    sample.output = sample.folder / "out put.0"
    with start_to_kill(sample, 0) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    right, acts = sums(Path(out.decode().splitlines()[0])), int((sample.folder / "acts").read_text())
    assert len(right) == 18
    killed, count = 0, 30 if full else 3
    with users_own(client):
        for number in random.Random(SEED).sample(range(1, acts + 1), acts):
            sample.output = sample.folder / f"out put.{number}"
            with start_to_kill(sample, number) as process:
                process.communicate()
            if process.returncode == 0:
                continue  # it had fewer acts this time: how often the engine is asked varies
            assert process.returncode == -signal.SIGKILL
            check_resumption(sample, right)
            assert ours(client, sample.folder) == []
            killed += 1
            if killed == count:
                break
    assert killed == count


def test_the_tool_killed_while_a_container_works(docked: TargetProject, client: Client) -> None:
    docked.media("1", "1.txt")
    docked.media("2", "2.txt")
    docked.component("a", f'case ${{in##*/}} in 1.txt) cp "$in" "$out";; *) {HOLDS};; esac')
    docked.write("a", options={"a": {"cpu": 1}})
    with docked.start("-v") as process:
        assert process.stderr is not None
        while b"waits" not in process.stderr.readline():
            pass
        process.kill()
    (one,) = ours(client, docked.folder)
    assert one["State"] == "running"  # it outlives the tool
    (run,) = docked.runs()
    assert docked.execute("--dry-run").status == 0
    assert len(ours(client, docked.folder)) == 1  # a dry run touches nothing
    docked.component("a", 'cp "$in" "$out"')
    docked.write("a", options={"a": {"cpu": 1}})
    docked.target = "process"  # whatever the next run is
    assert docked.succeed().ran == {"a": 2}
    assert ours(client, docked.folder) == []
    assert read_record(run)["state"] == "interrupted"
    assert contents(run / "a") == {"a_1": b"1"}


def test_a_dead_run_whose_engine_does_not_answer_is_left(
    docked: TargetProject, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    docked.media()
    docked.component("a", HOLDS)
    docked.write("a")
    with docked.start("-v") as process:
        assert process.stderr is not None
        while b"waits" not in process.stderr.readline():
            pass
        process.kill()
    (run,) = docked.runs()
    docked.component("a")
    docked.write("a")
    docked.target = "process"
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{docked.folder}/no.sock")
        assert f"run {run} died and is left for another start" in docked.succeed().err
    assert read_record(run)["state"] == "running"
    docked.succeed()
    assert read_record(run)["state"] == "interrupted"
    assert ours(client, docked.folder) == []


# --- The engine ---


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine of the test's own that the environment names."""
    folder = Path(tempfile.mkdtemp(prefix="ap-"))
    with private_engine(folder / "e") as engine:
        engine.load(BASE)
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        yield engine
    folder.rmdir()


def run_and_kill(project: TargetProject, engine: Engine, *, again: bool) -> str:
    """Run the project; when its step waits, kill the engine, and start it again or not; return what was told."""
    log = project.folder / "log"

    def kill() -> None:
        while "waits" not in log.read_text():
            threading.Event().wait(0.05)
        engine.end(signal.SIGKILL)
        if again:
            engine.start()

    with log.open("wb") as err:
        process = project.start("-v", stderr=err)
        thread = threading.Thread(target=kill)
        thread.start()
        process.communicate()
        thread.join()
    assert process.returncode == 5, log.read_text()
    return log.read_text()


@pytest.mark.parametrize("again", [False, True])
def test_the_engine_killed_in_the_middle_of_a_run(tmp_path: Path, mortal: Engine, again: bool) -> None:
    project = TargetProject(tmp_path / "project", "docker")
    project.media("1", "1.txt")
    project.media("2", "2.txt")
    project.component("a", f'case ${{in##*/}} in 1.txt) cp "$in" "$out";; *) {HOLDS};; esac')
    project.component("b")
    project.write("ab", [["a", "b"]], options={"a": {"cpu": 1}})
    with contextlib.closing(docker.DockerClient(mortal.host)) as private, users_own(private, running=False):
        told = run_and_kill(project, mortal, again=again)
        if again:
            assert "error: step a: its container was " in told
        else:
            assert "error: the Docker engine went away" in told
            assert "hint: start the engine, then give the same command again" in told
            mortal.start()
        (run,) = project.runs()
        assert (read_record(run)["state"], steps_of(run)["a"]["state"]) == ("failed", "failed")
        with project.start("-v") as process:
            assert process.stderr is not None
            while b"waits" not in process.stderr.readline():
                pass
            (project.runs()[-1] / "gate").touch()
            _, err = process.communicate()
        assert process.returncode == 0, err
        steps = steps_of(project.runs()[-1])
        assert (steps["a"]["ran"], steps["a"]["reused"], steps["b"]["ran"]) == (1, 1, 2)
        assert ours(private, project.folder) == []
