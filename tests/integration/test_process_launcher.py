"""The launcher as a program on a prepared volume, with every Python of this machine from 3.8 on."""

import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from src import step as launcher
from src.dag import load_dag
from src.media import save_media, stage
from src.plan import make_plan, plan_document
from src.record import prepare_volume
from src.store import Store
from tests.support import Project, contents, has_ended

OLDEST = 8  # of Python 3
TASKS = ["save-media", "a", "b@0", "b@1", "c"]


def find_pythons() -> dict[str, str]:
    """Return an interpreter of each version from the oldest on: this one, those of pyenv and of PATH."""
    places = sorted((Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions").glob("*/bin"))
    places += [Path(place) for place in os.environ.get("PATH", "").split(os.pathsep)]
    found = {".".join(map(str, sys.version_info[:2])): sys.executable}
    for path in (path for place in places for path in sorted(place.glob("python3.*"))):
        version = path.name.removeprefix("python")
        if not re.fullmatch(r"3\.\d+", version) or int(version[2:]) < OLDEST or version in found:
            continue
        # A shim of pyenv has the name of a version that is not chosen.
        if subprocess.run([str(path), "-c", ""], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
            found[version] = str(path)
    return found


PYTHONS = find_pythons()


class Volume:
    """A volume as the targets prepare it, and the components that stand for what images hold."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.folder / "volume"
        (self.folder / ".autopipe").mkdir(parents=True)
        prepare_volume(self.folder)
        plan = make_plan(load_dag(project.file))
        store = Store(project.folder / "store")
        names = [step.name for step in plan.steps]
        self.plan = plan_document(
            plan,
            run_id="test",
            keys={name: hashlib.sha256(name.encode()).hexdigest() for name in names},
            sums=dict.fromkeys(names, ""),
            media=stage(save_media(plan.dag.media, store), store, self.folder / ".autopipe" / "media"),
            parallel=None,
        )
        (self.folder / ".autopipe" / "plan.json").write_text(json.dumps(self.plan))
        shutil.copy(str(launcher.__file__), self.folder / ".autopipe" / "step.py")

    def component(self, task: str) -> Path:
        step = task.partition("@")[0]
        return (
            Path(launcher.__file__).parent / step if step == "save-media" else self.project.folder / "components" / step
        )

    def start(self, python: str, task: str, *run: str) -> "subprocess.Popen[bytes]":
        """Start a task as a container would: with the component's folder for working directory."""
        return subprocess.Popen(
            [python, str(self.folder / ".autopipe" / "step.py"), task, *run],
            cwd=self.component(task),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, python: str, task: str, *run: str) -> tuple[int, str, str]:
        with self.start(python, task, *run) as process:
            out, err = process.communicate()
        return process.returncode, out.decode(), err.decode()

    def run_here(self, task: str) -> launcher.Record:
        return launcher.run_task(self.folder, self.plan, task, component=lambda: self.component(task))

    def journal(self, task: str) -> list[dict[str, Any]]:
        """Return a task's journal without what differs from run to run: times, inodes, the order of invocations."""
        lines = launcher.read_journal(launcher.journal_path(self.folder, task))
        events = [line["event"] for line in lines]
        assert events[0] == "start"
        assert events[-1] == "end"
        attempts = [start for start, event in enumerate(events) if event == "start"] + [len(events)]
        return [
            strip(line)
            for begin, end in itertools.pairwise(attempts)
            for line in [
                lines[begin],
                *sorted(lines[begin + 1 : end - 1], key=lambda line: line["name"]),
                lines[end - 1],
            ]
        ]


def strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: strip(one) for key, one in value.items() if key not in ("time", "seconds", "mtime_ns", "inode")}
    return [strip(one) for one in value] if isinstance(value, list) else value


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.media("one", "one.txt")
    project.media("two", "two.txt")
    project.python_component("a", "open(OUT + '.txt', 'w').write(open(IN).read() + ' a')\nprint('a speaks')")
    project.component("b", 'echo b > m; tar -cf - --mtime=@0 m | gzip -n > "$out.tar.gz"')
    project.component("c", 'ls "$in" > "$out"')
    project.write("abc", [["a", "b"], ["b", "c"]], options={"b": {"shards": 2}, "c": {"join": True}})
    return project


def test_a_python_was_found() -> None:
    assert PYTHONS


@pytest.mark.parametrize("version", PYTHONS)
def test_a_journal_is_the_same_from_every_python(project: Project, tmp_path: Path, version: str) -> None:
    volume = Volume(project)
    for task in TASKS:
        status, out, err = volume.run(PYTHONS[version], task)
        assert (status, err) == (0, ""), err
        assert ("a speaks" in out) == (task == "a")
    journals = {task: volume.journal(task) for task in TASKS}
    assert contents(volume.folder / "c") == {"c": b"b_one.tar.gz\nb_two.tar.gz\n"}
    assert b"a speaks" in (volume.folder / ".autopipe" / "logs" / "a.log").read_bytes()
    shutil.rmtree(volume.folder)
    here = Volume(project)
    for task in TASKS:
        assert here.run_here(task)["state"] == "done"
    assert journals == {task: here.journal(task) for task in TASKS}


def test_what_is_done_is_not_run_again(project: Project) -> None:
    volume = Volume(project)
    for task in TASKS * 2:
        assert volume.run(sys.executable, task)[0] == 0
    for task in TASKS:
        lines = volume.journal(task)
        middle = len(lines) // 2
        assert lines[:middle] == lines[middle:]  # the second attempt says what it kept
        assert [line["event"] for line in lines[:middle]].count("start") == 1
    assert (volume.folder / ".autopipe" / "logs" / "a.log").read_text().count("a speaks") == 2


@pytest.mark.parametrize("version", PYTHONS)
def test_a_failure_ends_with_1_and_one_message(project: Project, version: str) -> None:
    project.python_component("a", "raise SystemExit('no model')")
    volume = Volume(project)
    assert volume.run(PYTHONS[version], "save-media")[0] == 0
    status, out, err = volume.run(PYTHONS[version], "a")
    assert status == 1
    assert err == "step a: exited with status 1\n"
    assert "no model" in out
    status, _, err = volume.run(PYTHONS[version], "c")
    assert status == 1
    assert err.startswith("step c: its parent b@0 is not complete\n")


@pytest.mark.parametrize("version", PYTHONS)
def test_a_signal_ends_the_component(project: Project, version: str) -> None:
    project.component("a", 'echo "$$ ready"; exec sleep 1000')
    project.write("abc", [["a", "b"], ["b", "c"]])
    volume = Volume(project)
    assert volume.run(PYTHONS[version], "save-media")[0] == 0
    with volume.start(PYTHONS[version], "a") as process:
        assert process.stdout is not None
        children = []
        for line in process.stdout:
            if line.endswith(b"ready\n"):
                children.append(int(line.split()[-2]))
                break
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 1
    assert err.decode().startswith("step a: interrupted")
    assert all(has_ended(child) for child in children)
    assert [line["event"] for line in volume.journal("a")] == ["start", "end"]


def test_media_that_did_not_arrive_whole(project: Project) -> None:
    volume = Volume(project)
    media = volume.folder / ".autopipe" / "media" / "one.txt"
    media.unlink()
    media.write_text("0ne")
    status, _, err = volume.run(sys.executable, "save-media")
    assert status == 1
    assert "one.txt did not arrive whole" in err
    media.write_text("one")  # brought anew, in another inode: it counts by its bytes
    assert volume.run(sys.executable, "save-media")[0] == 0


def test_an_input_that_was_changed_on_the_volume(project: Project) -> None:
    volume = Volume(project)
    for task in ("save-media", "a"):
        assert volume.run_here(task)["state"] == "done"
    (volume.folder / "a" / "a_one.txt").write_text("changed")
    end = volume.run_here("b@0")
    assert end["state"] == "failed"
    assert "a/a_one.txt is missing or was changed" in end["message"]
    assert volume.run_here("a")["state"] == "done"
    assert volume.run_here("b@0")["state"] == "done"
    assert contents(volume.folder / "a")["a_one.txt"] == b"one a"


def test_a_shard_takes_over_what_another_did(project: Project) -> None:
    # The number of shards was changed on a kept volume: files that moved to another task are not made again.
    volume = Volume(project)
    for task in TASKS:
        volume.run_here(task)
    log = volume.folder / ".autopipe" / "logs" / "b.log"
    before = log.read_bytes()
    volume.plan["tasks"]["b@0"]["shard"], volume.plan["tasks"]["b@1"]["shard"] = [1, 2], [0, 2]
    for task in ("b@0", "b@1"):
        assert volume.run_here(task)["state"] == "done"
    assert log.read_bytes() == before


def test_a_task_of_a_run_that_is_over_leaves_the_volume_alone(project: Project) -> None:
    volume = Volume(project)
    assert volume.run(sys.executable, "save-media", "test") == (0, ANY, "")

    status, _, err = volume.run(sys.executable, "a", "earlier")

    assert status == 1
    assert err == "step a: run earlier is over, the volume is that of run test\n"
    assert not launcher.journal_path(volume.folder, "a").exists()
