"""Components that fail in every way: the right status and message, nothing reported as fine, nothing left behind."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from src import step as launcher
from tests.support import Outcome, Project, contents, has_ended, marked_processes, read_record, small_disk, tree

FAILURES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    # script, options, what the message says, what the hint says
    "exit 3": ('echo begun > "$out"; exit 3', {}, "exited with status 3", ""),
    "exit 255": ("exit 255", {}, "exited with status 255", ""),
    "nothing": (":", {}, "exited with 0 but wrote no output", "optional"),
    "only scratch": ('echo > "$(dirname "$out")/scratch"; echo > scratch', {}, "wrote no output", "optional"),
    "another place": ('echo > "$HOME/${out##*/}"', {}, "wrote no output", "optional"),
    "SIGKILL": ("kill -9 $$", {}, "was ended by SIGKILL", "memory"),
    "SIGSEGV": ("kill -11 $$", {}, "was ended by SIGSEGV", ""),
    "SIGTERM of its own": ("kill $$", {}, "was ended by SIGTERM", ""),
    "folder": ('mkdir "$out"; echo > "$out/file"', {}, "wrote bad, which is a folder", "OUTPUT.tar.gz"),
    "dangling link": ('ln -s nowhere "$out"', {}, "wrote bad, which is a link to nothing", ""),
    "dangling link, optional": (
        'ln -s nowhere "$out"',
        {"optional": True},
        "wrote bad, which is a link to nothing",
        "",
    ),
    "dangling archive": ('ln -s nowhere "$out.tar.gz"', {"optional": True}, "wrote bad.tar.gz, which is a link to", ""),
    "fifo": ('mkfifo "$out"', {}, "wrote bad, which is no file", "outputs are files"),
    "fifo, optional": ('mkfifo "$out"', {"optional": True}, "wrote bad, which is no file", ""),
    "empty archive": ('tar -czf "$out.tar.gz" -T /dev/null', {}, "an archive without members", "pack"),
    "archive of folders": ('mkdir d; tar -czf "$out.tar.gz" d', {}, "an archive without members", "pack"),
    "no archive": ('echo text > "$out.tar.gz"', {}, "bad.tar.gz is not a readable archive", "close the archive"),
    "half an archive": (
        'head -c 100000 /dev/urandom > m; tar -czf t m; head -c 50000 t > "$out.tar.gz"',
        {},
        "bad.tar.gz is not a readable archive",
        "close the archive",
    ),
    "no program": ("", {"command": ["no-such-program"]}, "cannot start no-such-program", "command"),
    "not executable": ("", {"command": ["./main.sh"]}, "cannot start ./main.sh", "command"),
    "no such script": ("", {"command": ["sh", "other.sh"]}, "exited with status", ""),
    "timeout": ("sleep 1000", {"timeout": 0.1}, "timed out after 0.1 s", "timeout"),
    "timeout of a family": ("sleep 1000 & sleep 1000 & wait", {"timeout": 0.1}, "timed out after 0.1 s", "timeout"),
    "ignores SIGTERM": ('trap "" TERM; sleep 1000', {"timeout": 0.1}, "timed out after 0.1 s", "timeout"),
}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "GRACE", 0.1)
    monkeypatch.setattr(launcher.Cancel, "wait", lambda self, _: self.is_set())  # before another attempt
    monkeypatch.setattr(launcher, "reflink", lambda *_: False)  # inputs are links, as on most disks


def with_neighbour(project: Project, script: str, options: Mapping[str, Any]) -> None:
    """Write `bad`, what needs it, and a branch of its own that is well."""
    project.media()
    project.component("bad", script)
    for name in ("after", "good"):
        project.component(name)
    project.write(["bad", "after", "good"], [["bad", "after", 1]], options={"bad": dict(options)})


def state_of(project: Project) -> dict[str, str]:
    (run,) = project.runs()
    return {step["step"]: step["state"] for step in read_record(run)["steps"]}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_is_told_and_the_other_branch_goes_on(project: Project, kind: str) -> None:
    script, options, message, hint = FAILURES[kind]
    with_neighbour(project, script, options)
    outcome = project.fail(5)
    assert outcome.errors[0].startswith("error: step bad: ")
    assert message in outcome.errors[0]
    assert hint in outcome.errors[-1]
    assert any("not run, since they need it: after" in line for line in outcome.errors)
    assert state_of(project) == {"save-media": "done", "bad": "failed", "after": "not run", "good": "done"}
    (run,) = project.runs()
    assert read_record(run)["state"] == "failed"
    assert (run / "good" / "good").read_bytes() == b"media"
    assert list((run / "bad").iterdir()) == []
    assert marked_processes(run.name) == []
    assert not (project.place / "latest").exists()
    assert sorted(path.name for path in run.iterdir()) == [
        "bad",
        "good",
        "logs",
        "report.html",
        "run.json",
        "save-media",
    ]


def test_a_copy_may_be_changed(project: Project) -> None:
    with_neighbour(project, 'echo x >> "$in"; cp "$in" "$out"', {"copy_input": True})
    folder = project.succeed().folder
    assert (folder / "bad" / "bad").read_bytes() == b"mediax\n"
    assert (folder / "save-media" / "clip.mp4").read_bytes() == b"media"
    assert (project.folder / "media" / "clip.mp4").read_bytes() == b"media"


def test_a_changed_input_is_told_and_made_anew(project: Project) -> None:
    # The neighbour may fail too: it has the same file. So has the store, by a hard link; the change must not stay.
    with_neighbour(project, 'echo x >> "$in"; cp "$in" "$out"', {})
    outcome = project.fail(5)
    assert outcome.errors[0] == "error: step bad: it changed its input clip.mp4"
    assert "copy_input: true" in outcome.errors[-1]
    assert (project.folder / "media" / "clip.mp4").read_bytes() == b"media"
    project.component("bad")
    folder = project.succeed().folder
    assert contents(folder / "save-media") == {"clip.mp4": b"media"}
    assert contents(folder / "after") == {"after": b"media"}


@pytest.mark.parametrize("name", ["$out", "$out.tar.gz"])
def test_an_output_that_is_a_link_is_the_file_it_leads_to(project: Project, name: str) -> None:
    project.media()
    project.component("a", f'echo hi > "$TMPDIR/f"; tar -czf "$TMPDIR/t" -C "$TMPDIR" f; ln -s "$TMPDIR/t" "{name}"')
    project.component("b")
    project.write("ab", [["a", "b"]])
    folder = project.succeed().folder
    (made,) = (folder / "a").iterdir()
    assert made.is_file()
    assert not made.is_symlink()
    assert contents(folder / "b")["b"] == made.read_bytes()


# --- Several invocations ---

BY_FILE = 'case $in in *bad*) exit 3;; esac; cp "$in" "$out"'


def test_one_file_of_many_fails(project: Project, tmp_path: Path) -> None:
    for number in range(6):
        project.media(str(number), f"{number}.txt")
    project.component("a", 'if [ "$(cat "$in")" = 4 ] && [ ! -e "$REPAIRED" ]; then exit 3; fi; cp "$in" "$out"')
    repaired = tmp_path / "repaired"
    project.write("a", options={"a": {"cpu": 1, "env": {"REPAIRED": str(repaired)}}})
    outcome = project.fail(5)
    assert outcome.errors[0] == "error: step a on a_4: exited with status 3"
    repaired.touch()
    outcome = project.succeed()
    assert outcome.ran == {"a": 2}  # that one, and the one after it
    assert {name: int(content) for name, content in contents(outcome.folder / "a").items()} == {
        f"a_{number}": number for number in range(6)
    }


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("consumer", [True, False])
def test_two_invocations_that_write_the_same_name(project: Project, shards: int, consumer: bool) -> None:
    project.media("1", "x.txt")
    project.media("2", "x_1.txt")
    project.component("a", 'case $out in *_1) cp "$in" "$out";; *) cp "$in" "${out}_1";; esac')
    project.component("b")
    components, edges = (["a", "b"], [["a", "b"]]) if consumer else (["a"], [])
    project.write(components, edges, options={"a": {"shards": shards}})
    outcome = project.fail(5)
    assert "a_x_1" in outcome.errors[0]
    assert "separator" in outcome.errors[-1]


def test_retries_help_a_component_that_fails_at_times(project: Project, tmp_path: Path) -> None:
    project.media()
    project.component("a", 'echo x >> "$TRIES"; [ "$(wc -l < "$TRIES")" -ge 3 ] || exit 9; cp "$in" "$out"')
    tries = tmp_path / "tries"
    project.write("a", options={"a": {"retries": 2, "env": {"TRIES": str(tries)}}})
    outcome = project.succeed()
    assert outcome.record["steps"][1]["invocations"][0]["attempts"] == 3
    assert len(tries.read_text()) == 6
    assert "a: a took 3 attempts" in outcome.err


def test_retries_end(project: Project, tmp_path: Path) -> None:
    with_neighbour(project, 'echo x >> "$TRIES"; exit 9', {"retries": 2, "env": {"TRIES": str(tmp_path / "tries")}})
    assert "exited with status 9" in project.fail(5).errors[0]
    assert (tmp_path / "tries").read_text() == "x\n" * 3


def test_no_attempt_is_made_again_where_none_could_help(project: Project, tmp_path: Path) -> None:
    script = 'echo x >> "$TRIES"; echo >> "$in"; cp "$in" "$out"'
    with_neighbour(project, script, {"retries": 5, "env": {"TRIES": str(tmp_path / "tries")}})
    project.fail(5)
    assert (tmp_path / "tries").read_text() == "x\n"


def test_the_tail_of_the_log_is_shown_and_moves_no_cursor(project: Project) -> None:
    with_neighbour(project, r"printf 'one\n\033[2Jtwo\rthree\377\n'; seq 100 >&2; exit 3", {})
    outcome = project.fail(5)
    assert "\033" not in outcome.err
    shown = [line.strip() for line in outcome.errors]
    assert [str(number) for number in range(81, 101)] == [line for line in shown if line.isdigit()]
    (run,) = project.runs()
    log = (run / "logs" / "bad.log").read_bytes()
    assert b"\033[2Jtwo\rthree\377\n1\n2\n" in log
    assert str(run / "logs" / "bad.log") in outcome.err


def test_many_failures_are_all_told(project: Project, full: bool) -> None:
    count = 2000 if full else 60
    project.media()
    names = [f"{'exits' if number % 2 else 'writes-nothing'}-{number}" for number in range(count)]
    real = {"exits": project.component("exits", "exit 3"), "writes-nothing": project.component("writes-nothing", ":")}
    for name in names:
        (project.folder / "components" / name).symlink_to(real[name.rpartition("-")[0]].name)
    project.write(names)
    outcome = project.fail(5)
    states = state_of(project)
    assert [name for name in names if states[name] != "failed"] == []
    assert len(outcome.errors) < 60  # not a screen for each


# --- What was skipped because it may be, and may no more ---


def test_a_result_that_was_skipped_is_an_error_once_it_must_be_there(project: Project) -> None:
    with_neighbour(project, ":", {"optional": True})
    outcome = project.succeed()
    assert [step["state"] for step in outcome.record["steps"]] == ["done", "skipped", "skipped", "done"]
    with_neighbour(project, ":", {})
    assert "wrote no output" in project.fail(5).errors[0]


@pytest.mark.parametrize(("shares", "status"), [([0.6], 0), ([1], 5), ([0.5, 0.5], 5), ([0.3, 0.3], 0), ([1, 0.5], 5)])
def test_the_probabilities_say_whether_no_output_is_normal(project: Project, shares: list[float], status: int) -> None:
    project.media()
    project.component("a", ":")
    names = [f"b{number}" for number in range(len(shares))]
    for name in names:
        project.component(name)
    project.write(["a", *names], [["a", name, share] for name, share in zip(names, shares, strict=True)])
    assert project.run().status == status


# --- Processes ---


@pytest.mark.parametrize("how", ["sh left", "setsid sh left", "setsid sh left > /dev/null 2>&1", "exec setsid sh left"])
def test_what_a_component_leaves_running_is_ended(project: Project, tmp_path: Path, how: str) -> None:
    project.media()
    # The component ends when the other has come so far as to have, or to be, a session of its own.
    project.component(
        "a",
        f'mkfifo fifo; {how} & read -r pid < fifo; echo "$pid" > "$PIDS"; cp "$in" "$out"',
        files={"left": "echo $$ > fifo; exec sleep 1000"},
    )
    project.write("a", options={"a": {"env": {"PIDS": str(tmp_path / "pid")}}})
    outcome = project.succeed()
    assert has_ended(int((tmp_path / "pid").read_text()))
    assert marked_processes(outcome.folder.name) == []


@pytest.mark.parametrize("kind", ["lines", "one line"])
def test_a_component_that_prints_without_end_takes_no_memory(project: Project, full: bool, kind: str) -> None:
    megabytes = 1000 if full else 50
    project.media()
    source = "yes 0123456789012345678901234567890" if kind == "lines" else "cat /dev/zero"
    project.component("a", f'{source} | head -c {megabytes}M; cp "$in" "$out"')
    project.component("quiet")
    used = []
    for components in (["quiet"], ["quiet", "a"]):
        project.write(components)
        with project.start("--fresh") as process:
            assert process.stdout is not None
            folder = Path(process.stdout.readline().decode().strip())
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        used.append(usage.ru_maxrss)
    log = folder / "logs" / "a.log"
    assert log.stat().st_size > megabytes << 20
    log.unlink()
    assert used[1] - used[0] < 20_000, f"{used} kB"  # ru_maxrss is in kB


# --- Disks ---


@pytest.fixture
def chain(project: Project) -> Project:
    """Three steps, each with an output of 20 kB that compresses badly."""
    project.media(bytes(number * number % 251 for number in range(20_000)))
    for name in "abc":
        project.component(name)
    project.write("abc", [["a", "b"], ["b", "c"]])
    return project


def check_whole(outcome: Outcome, project: Project) -> None:
    media = (project.folder / "media" / "clip.mp4").read_bytes()
    assert [(outcome.folder / name / name).read_bytes() == media for name in "abc"] == [True] * 3


def test_a_disk_that_is_full_at_any_moment(chain: Project, full: bool) -> None:
    # Each run gets some pages more than the one before; whatever did not fit, it is told, and then it goes on.
    chain.succeed()  # environments are made
    statuses = []
    for pages in range(1, 200, 1 if full else 3):
        with small_disk(chain.output, pages * 4096) as remount:
            outcome = chain.run()
            statuses.append(outcome.status)
            assert outcome.status in (0, 2, 5, 6), outcome.err
            if outcome.status:
                assert outcome.err.count("\nerror: ") == 1, outcome.err
                assert "Traceback" not in outcome.err
                assert "No space left" in outcome.err or "is full" in outcome.err, outcome.err
                remount("size=100m")
            check_whole(chain.succeed(), chain)
            assert [path for path in tree(chain.output) if "_work" in path or ".autopipe" in path] == []
        if outcome.status == 0:
            break
    assert statuses[-1] == 0
    assert {2, 5} <= set(statuses)
    assert sorted(status for status in statuses if status == 2) == statuses[: statuses.count(2)]  # 2 is before work


def test_a_cache_on_a_full_disk(chain: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    with small_disk(tmp_path / "cache", 4 * 4096) as remount:
        outcome = chain.fail(4)
        assert "No space left" in outcome.err
        remount("size=100m")
        check_whole(chain.succeed(), chain)


def test_an_output_folder_that_cannot_be_written(chain: Project) -> None:
    with small_disk(chain.output, 1 << 20) as remount:
        remount("ro")
        outcome = chain.fail(2)
        assert str(chain.output) in outcome.errors[0]
        assert "--output" in outcome.errors[-1]
        remount("rw")
        check_whole(chain.succeed(), chain)
        remount("ro")
        chain.fail(2)


def test_a_component_that_fills_the_disk(project: Project) -> None:
    project.media()
    project.component("a", 'head -c 5M /dev/zero > "$out"')
    project.write("a")
    with small_disk(project.output, 2 << 20):
        outcome = project.fail(5)
        assert "full" in outcome.errors[-1]


# --- The record of a failed run ---


@pytest.fixture
def failed(project: Project) -> dict[str, Any]:
    with_neighbour(project, "echo the reason; exit 3", {})
    project.fail(5)
    (run,) = project.runs()
    return read_record(run)


def test_the_record_says_what_failed_and_why(failed: dict[str, Any]) -> None:
    bad = next(step for step in failed["steps"] if step["step"] == "bad")
    assert bad["message"] == "exited with status 3"
    assert bad["tail"][-1] == "the reason"
    (invocation,) = bad["invocations"]
    assert (invocation["state"], invocation["exit"], invocation["attempts"]) == ("failed", 3, 1)
    assert json.dumps(failed)
