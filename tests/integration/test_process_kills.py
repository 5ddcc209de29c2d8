"""kill -9 at any moment, then the same command: the outputs are right, nothing done is run again, nothing is left."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT, Project, contents, has_ended, marked_processes, read_record, run_main

SEED = 20240917
COMPONENTS = {  # the shape of the sample: a fan-out, a fan-in, one that may write nothing, an archive, a join
    "shots": 'for n in 0 1 2 3; do { echo "shot $n"; cat "$in"; } > "${out}_$n.mp4"; done',
    "frames": 'echo half > "$out-1.jpg"; cat "$in" >> "$out-1.jpg"; { echo two; cat "$in"; } > "$out-2.jpg"',
    "trails": 'cat "$in" "$in" > "$out.png"',
    "sharp": 'case $in in *_1-*|*_2-2*) ;; *) cp "$in" "$out.jpg";; esac',
    "card": '{ echo card; cat "$in"; } > "$out.png"',
    "sound": 'cat "$in" > a; cat "$in" "$in" > b; tar -cf - --mtime=@0 a b | gzip -n > "$out.tar.gz"',
    "tune": 'tar -xzOf "$in" > "$out.json"',
    "poster": 'cat "$in"/* > "$out"',
}
EDGES = [
    ("shots", "frames", 1),
    ("shots", "trails", 1),
    ("frames", "sharp", 1),
    ("sharp", "card", 0.6),
    ("trails", "card", 1),
    ("sound", "tune", 1),
    ("card", "poster", 1),
    ("tune", "poster", 1),
]


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The project; its path has a blank and a dot, so that each run needs a link to a plain path."""
    project = Project(tmp_path / "my project.d")
    project.media("a clip\n")
    for name, script in COMPONENTS.items():
        project.component(name, script)
    project.write(list(COMPONENTS), EDGES, options={"poster": {"join": True}, "card": {"join": False}})
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield project
    assert list(temporary.iterdir()) == []


def sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of each output of a run, by step and name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and len(path.relative_to(folder).parts) == 2 and path.parent.name != "logs"
    }


def journaled(output: Path) -> dict[str, set[str]]:
    """Return, by run, the keys of what the journals of dead runs say is done."""
    found: dict[str, set[str]] = {}
    for path in output.glob("*/*/.autopipe/steps/*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            record: dict[str, Any] = json.loads(line)
            if record["event"] == "invocation" and record["state"] != "failed":
                found.setdefault(path.parents[2].name, set()).add(record["key"])
    return found


def leftovers(output: Path) -> list[str]:
    """Return what only runs at work have: private folders, folders of work, things on their way into the store."""
    return [
        str(path)
        for path in output.rglob("*")
        if path.name == "_work"
        or (path.name.startswith(".") and path.name != ".store" and not path.name.startswith(".lock-"))
        or path.parent.name == "tmp"
    ]


def check_resumption(project: Project, right: dict[str, str]) -> None:
    """Give the killed command again, and assert all that it promises."""
    before = {path.name for path in project.place.glob("2*")}
    done = journaled(project.output)
    outcome = project.succeed()
    assert sums(outcome.folder) == right
    run_again = {
        one["key"]
        for step in outcome.record["steps"]
        for one in step["invocations"]
        if one["run"] == outcome.record["run"]
    }
    assert run_again & set().union(*done.values()) == set()
    assert leftovers(project.output) == []
    for run in before:
        assert all(has_ended(pid) for pid in marked_processes(run))
        record = project.place / run / "run.json"
        assert not record.exists() or read_record(record.parent)["state"] in ("interrupted", "done")
    assert project.succeed().ran == {}


def start_to_kill(project: Project, number: int, signal_number: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(ROOT / "tests" / "kill_at.py"), str(number), str(int(signal_number))]
    command += [str(project.folder / "acts"), *project.arguments()]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run_undisturbed(project: Project) -> tuple[dict[str, str], int]:
    """Return the outputs' sums, and how many acts the program came to."""
    project.succeed()  # environments are made
    project.output = project.folder / "out put.0"
    with start_to_kill(project, 0, 0) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    return sums(Path(out.decode().splitlines()[0])), int((project.folder / "acts").read_text())


def test_kill_at_any_act(sample: Project, full: bool) -> None:
    right, acts = run_undisturbed(sample)
    assert len(right) > 25
    for number in sorted(random.Random(SEED).sample(range(1, acts + 1), 60 if full else 4)):
        sample.output = sample.folder / f"out put.{number}"
        with start_to_kill(sample, number, signal.SIGKILL) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL, f"not killed at act {number} of {acts}"
        check_resumption(sample, right)


def test_kill_at_any_moment(sample: Project, full: bool) -> None:
    right, _ = run_undisturbed(sample)
    clock = random.Random(SEED)
    for number in range(50 if full else 4):
        sample.output = sample.folder / f"out put.{number}"
        with sample.start(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(clock.uniform(0.1, 0.8))  # seconds; a whole run takes about as long
            except subprocess.TimeoutExpired:
                process.kill()
        check_resumption(sample, right)


def test_kill_twice(sample: Project) -> None:
    # What the first left is being taken over when the second dies.
    right, acts = run_undisturbed(sample)
    sample.output = sample.folder / "out put.twice"
    for number in (acts // 2, 20, acts // 3):
        with start_to_kill(sample, number, signal.SIGKILL) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL
    check_resumption(sample, right)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_act_ends_the_run_in_order(sample: Project, full: bool, signal_number: int) -> None:
    right, acts = run_undisturbed(sample)
    for number in sorted(random.Random(SEED + signal_number).sample(range(1, acts + 1), 60 if full else 3)):
        sample.output = sample.folder / f"out put.{number}"
        with start_to_kill(sample, number, signal_number) as process:
            _, err = process.communicate()
        text = err.decode()
        # The last acts come after the run: then it is complete.
        assert process.returncode in (128 + signal_number, 0), text
        assert "Traceback" not in text
        assert text.count("error: interrupted by") == bool(process.returncode)
        for run in sample.place.glob("2*"):
            assert marked_processes(run.name) == []
            # A signal that comes while a complete run is being closed leaves the rest to the next start.
            closed = (run / "run.json").exists() and read_record(run)["state"] == "interrupted"
            assert not closed or leftovers(run) == []
        check_resumption(sample, right)


# --- Many files ---


def test_a_kill_among_many_files_costs_those_in_flight_and_a_new_file_one(
    project: Project, tmp_path: Path, full: bool
) -> None:
    count, last = (1000, 900) if full else (40, 36)
    for number in range(count):
        project.media(str(number), f"{number:04}.txt")
    project.component(
        "a",
        'echo "$in" >> "$COUNT"; name=${in##*/}; if [ "$name" = "$LAST.txt" ] && [ ! -e "$COUNT.killed" ]; then '
        '> "$COUNT.killed"; kill -9 $PPID; fi; cp "$in" "$out"',
    )
    counted = tmp_path / "count"
    project.write("a", options={"a": {"cpu": 2, "env": {"COUNT": str(counted), "LAST": f"{last:04}"}}})
    assert project.execute().status == -signal.SIGKILL
    begun = len(counted.read_text().splitlines())
    outcome = project.succeed()
    again = outcome.ran["a"]
    assert again <= count - last + 2, f"{again} of {count} were run again"
    assert begun + again <= len(counted.read_text().splitlines()) <= count + 2
    assert sorted(contents(outcome.folder / "a").values()) == sorted(str(n).encode() for n in range(count))

    project.media("new", "0500a.txt")
    outcome = project.succeed()
    assert outcome.ran == {"a": 1}
    assert len(contents(outcome.folder / "a")) == count + 1
    assert contents(outcome.folder / "a")["a_0500a"] == b"new"


# --- What a killed run leaves running ---


@pytest.mark.parametrize("how", ["exec sh wait", "setsid sh wait", "setsid sh wait > /dev/null 2>&1"])
def test_the_next_start_ends_what_a_killed_run_left(project: Project, tmp_path: Path, how: str) -> None:
    project.media()
    script = f'[ -z "$READY" ] || {{ {how}; }}; cp "$in" "$out"'
    project.component("a", script, files={"wait": 'echo $$ > "$READY"; exec sleep 1000'})
    project.write("a")
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    with project.start(env={**os.environ, "READY": str(ready)}) as process:
        orphan = int(ready.read_text())  # waits until it is there
        process.kill()
    outcome = project.succeed()
    assert has_ended(orphan)
    assert contents(outcome.folder / "a") == {"a": b"media"}
    assert leftovers(project.output) == []


# --- Half-written things ---


def test_a_torn_record_of_the_store_is_no_record(project: Project) -> None:
    project.media()
    project.component("a")
    project.write("a")
    project.succeed()
    for path in (project.place / ".store" / "objects").rglob("record.json"):
        path.write_bytes(path.read_bytes()[:-20])
    outcome = project.succeed()
    assert outcome.ran == {"a": 1}
    assert project.succeed().ran == {}


@pytest.mark.parametrize("place", [".store/objects", "latest"])
@pytest.mark.parametrize("how", ["edited", "cut", "gone", "replaced", "a folder"])
def test_a_file_that_is_not_as_it_was_is_made_again(project: Project, place: str, how: str) -> None:
    project.media()
    project.component("a")
    project.component("b")
    project.write("ab", [["a", "b"]])
    project.succeed()
    for path in [path for path in (project.place / place).resolve().rglob("a") if path.is_file()]:
        if how == "edited":
            path.write_bytes(b"MEDIA")
        elif how == "cut":
            os.truncate(path, 2)
        else:
            path.unlink()
        if how == "replaced":
            path.write_bytes(b"MEDIA")
        if how == "a folder":
            path.mkdir()
    outcome = project.succeed()
    assert contents(outcome.folder / "a") == {"a": b"media"}
    assert contents(outcome.folder / "b") == {"b": b"media"}
    # What is only gone from a run's folder is still in the store.
    linked = place == "latest" and how in ("gone", "replaced", "a folder")
    assert outcome.ran == ({} if linked else {"a": 1})


def test_half_an_environment_is_made_again(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    project.media()
    project.component("a")
    project.write("a")
    project.succeed()
    (environment,) = (tmp_path / "cache" / "environments").iterdir()
    (environment / "autopipe.json").unlink()
    (environment / "pyvenv.cfg").unlink()
    assert run_main(project.arguments("--fresh")).status == 0
    assert (environment / "pyvenv.cfg").exists()
    assert [path.name for path in (tmp_path / "cache" / "environments").iterdir()] == [environment.name]
