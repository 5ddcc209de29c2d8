"""Two runs at once, and runs that are interrupted from outside."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT, Project, contents, has_ended, marked_processes, read_record, tree

BLOCK = '[ -z "$READY" ] || {{ {how}; }}; cp "$in" "$out"'
WAIT = {"wait": 'echo $$ > "$READY"; read -r _ < "$GO"'}


class Gate:
    """A component that tells when it is running and waits until it may end, in runs that are started with `env`."""

    def __init__(self, folder: Path) -> None:
        self.ready, self.go = folder / "ready", folder / "go"
        os.mkfifo(self.ready)
        os.mkfifo(self.go)
        self.env = {**os.environ, "READY": str(self.ready), "GO": str(self.go)}

    def wait(self) -> int:
        """Wait until the component runs; return its process."""
        return int(self.ready.read_text())

    def open(self) -> None:
        """Let it end."""
        self.go.write_text("go\n")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def gated(project: Project) -> Project:
    """A project whose first component waits where the gate's environment is given."""
    write_gated(project)
    return project


def write_gated(project: Project, how: str = "sh wait") -> None:
    project.media()
    project.component("a", BLOCK.format(how=how), files=WAIT)
    project.component("b")
    project.write("ab", [["a", "b"]])


@pytest.fixture
def running(gated: Project, gate: Gate) -> "Iterator[subprocess.Popen[bytes]]":
    """A run that waits at the gate."""
    with gated.start(env=gate.env) as process:
        gate.wait()
        try:
            yield process
        finally:
            process.kill()


def finish(process: "subprocess.Popen[bytes]", gate: Gate) -> str:
    gate.open()
    out, err = process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


# --- Two at once ---


def test_the_same_command_twice_is_refused(
    gated: Project, gate: Gate, running: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    outcome = gated.fail(75)
    assert f"process {running.pid}" in outcome.errors[0]
    link = tmp_path / "link.yaml"
    link.symlink_to(gated.file)
    gated.fail(75, file=link)
    assert len(gated.runs()) == 1
    finish(running, gate)
    assert gated.succeed().ran == {}


def test_the_same_dag_into_two_folders(
    gated: Project, gate: Gate, running: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    there = tmp_path / "another"
    outcome = gated.succeed("--output", str(there))
    assert outcome.ran == {"a": 1, "b": 1}
    assert outcome.folder.is_relative_to(there)
    finish(running, gate)


def test_two_files_of_one_name_into_one_folder(gated: Project, gate: Gate, running: "subprocess.Popen[bytes]") -> None:
    # They share the store; neither takes the other for a dead run.
    other = gated.write("ab", [["a", "b"]], file=gated.folder / "other.yaml")
    outcome = gated.succeed(file=other)
    assert outcome.ran == {"a": 1, "b": 1}
    first = Path(finish(running, gate).splitlines()[0])
    assert first != outcome.folder
    for folder in (first, outcome.folder):
        assert read_record(folder)["state"] == "done"
        assert contents(folder / "b") == {"b": b"media"}


def test_two_files_of_one_name_start_afresh_at_once(project: Project) -> None:
    # Each makes anew what the other is taking into its run.
    project.media("1", "one.txt")
    project.media("2", "two.txt")
    for name in "abc":
        project.component(name)
    files = [project.write("abc", [["a", "b"], ["b", "c"]], file=project.folder / f"{n}.yaml") for n in range(4)]
    for _ in range(2):
        options = [["--fresh"], [], ["--fresh"], []]
        running = [project.start(*more, file=file) for more, file in zip(options, files, strict=True)]
        for process in running:
            _, err = process.communicate()
            assert process.returncode == 0, err.decode()
    assert contents(project.place / "latest" / "c") == {"c_b_a_one": b"1", "c_b_a_two": b"2"} or contents(
        project.place / "latest" / "c"
    ) == {"c_one": b"1", "c_two": b"2"}
    assert [path for path in tree(project.output) if "_work" in path or ".autopipe" in path] == []


def test_stages_that_are_run_alone_are_refused_too(
    gated: Project, gate: Gate, running: "subprocess.Popen[bytes]"
) -> None:
    command = [sys.executable, str(ROOT / "src" / "pipeline_manager.py"), *gated.arguments()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 75, done.stderr
    finish(running, gate)


# --- Interrupted ---

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_ends_the_run_and_the_same_command_goes_on(
    gated: Project, gate: Gate, running: "subprocess.Popen[bytes]", number: int, status: int
) -> None:
    running.send_signal(number)
    out, err = running.communicate()
    assert running.returncode == status
    assert out == b""
    assert err.decode().count("error: interrupted by") == 1
    assert "hint: the same command goes on from here" in err.decode()
    (run,) = gated.runs()
    assert marked_processes(run.name) == []
    assert read_record(run)["state"] == "interrupted"
    assert not (run / "_work").exists()
    assert not (run / ".autopipe").exists()
    outcome = gated.succeed()
    assert outcome.ran == {"a": 1, "b": 1}
    assert outcome.record["steps"][0]["reused"] == 1


SHORT_GRACE = "import sys; sys.path.insert(0, sys.argv.pop(1)); import autopipe, src.step; src.step.GRACE = 0.2; "


@pytest.mark.parametrize(
    "how",
    [
        "sh wait",
        "trap '' TERM INT HUP; sh wait",
        "setsid sh wait",
        "sh wait & sh wait2 & wait",
        "trap '' TERM; setsid sh wait > /dev/null 2>&1",
    ],
)
def test_nothing_that_ran_survives_a_signal(project: Project, gate: Gate, how: str) -> None:
    write_gated(project, how)
    (project.folder / "components" / "a" / "wait2").write_text("exec sleep 1000")
    command = [sys.executable, "-c", SHORT_GRACE + "raise SystemExit(autopipe.main())", str(ROOT)]
    with subprocess.Popen(
        [*command, *project.arguments()], env=gate.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        component = gate.wait()
        (run,) = project.runs()
        at_work = marked_processes(run.name)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 143, err.decode()
    assert component in at_work
    assert all(has_ended(pid) for pid in at_work)
    assert marked_processes(run.name) == []


def test_a_second_signal_changes_nothing(gated: Project, gate: Gate) -> None:
    with gated.start(env=gate.env) as process:
        gate.wait()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode in (130, 143)
    assert "Traceback" not in err.decode()


def test_a_signal_while_a_retry_is_waited_for(project: Project, tmp_path: Path) -> None:
    project.media()
    project.component("a", 'echo $$ > "$READY"; exit 3')
    os.mkfifo(tmp_path / "ready")
    project.write("a", options={"a": {"retries": 50, "env": {"READY": str(tmp_path / "ready")}}})
    with project.start() as process:
        for _ in range(2):
            (tmp_path / "ready").read_text()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 143, err.decode()


def test_a_reader_that_goes_away_is_no_error(project: Project) -> None:
    project.media()
    project.component("a")
    project.write("a")
    reader, writer = os.pipe()
    os.close(reader)
    with project.start(stdout=writer) as process:
        os.close(writer)
        _, err = process.communicate()
    assert process.returncode == 0, err.decode()
    assert project.runs()


# --- Locks of the dead ---


def test_a_lock_of_a_dead_process_is_no_obstacle(
    gated: Project, gate: Gate, running: "subprocess.Popen[bytes]"
) -> None:
    running.kill()
    running.wait()
    assert gated.succeed().ran == {"a": 1, "b": 1}
    assert [read_record(run)["state"] for run in gated.runs()] == ["interrupted", "done"]
