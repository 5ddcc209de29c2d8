"""The boundary: one message, one hint, the right status; and what a run tells on its way."""

import argparse
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src import errors
from src.cli import BUG, run_program, set_up_logging
from src.errors import AutopipeError, Interrupted, before_work
from src.options import add_common_options, add_run_options
from src.progress import LiveProgress, Progress, count, follow
from src.request import Request

log = logging.getLogger("autopipe")


@pytest.fixture
def dag_file(tmp_path: Path) -> Path:
    path = tmp_path / "dag.yaml"
    path.write_text("System: {name: app, components: [a], input_media: clip.mp4}\n")
    (tmp_path / "none.env").touch()
    return path


def run(program: Callable[[Request], Any], dag_file: Path, *more: str) -> int:
    parser = argparse.ArgumentParser(prog="x.py")
    add_common_options(parser)
    add_run_options(parser)
    env_file = dag_file.parent / "none.env"
    return run_program(program, parser, ["-i", str(dag_file), "--env-file", str(env_file), *more])


def raiser(error: BaseException) -> Callable[[Request], None]:
    def program(_: Request) -> None:
        raise error

    return program


STATUSES = {
    "ConfigError": 2,
    "FetchError": 3,
    "ImageError": 4,
    "RunError": 5,
    "OutputError": 6,
    "BusyError": 75,
}


@pytest.mark.parametrize("name", STATUSES)
def test_each_error_has_its_status(dag_file: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = getattr(errors, name)("what failed", hint="what to do", details=("one", "two"))
    assert run(raiser(error), dag_file) == STATUSES[name]
    assert capsys.readouterr() == ("", "error: what failed\n  one\n  two\nhint: what to do\n")


def test_an_error_without_details_and_hint(dag_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raiser(errors.RunError("what failed")), dag_file) == 5
    assert capsys.readouterr().err == "error: what failed\n"


@pytest.mark.parametrize(
    ("error", "status"), [(Interrupted(15), 143), (Interrupted(1), 129), (KeyboardInterrupt(), 130)]
)
def test_an_interruption_has_the_status_of_its_signal(
    dag_file: Path, error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raiser(error), dag_file) == status
    assert capsys.readouterr().err.startswith("error: interrupted by ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_the_program_in_order_and_are_given_back(dag_file: Path, number: int) -> None:
    before, tidied = signal.getsignal(number), []

    def program(_: Request) -> None:
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            tidied.append(True)

    assert run(program, dag_file) == 128 + number
    assert tidied
    assert signal.getsignal(number) == before


def test_a_bug_is_shown_whole(dag_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raiser(ValueError("our mistake")), dag_file) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith(f"ValueError: our mistake\n{BUG}\n")


def test_a_program_that_ends_well(dag_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda _: print("result"), dag_file) == 0
    assert capsys.readouterr() == ("result\n", "")


def test_what_was_asked_for(dag_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Request] = []
    monkeypatch.chdir(dag_file.parent)
    assert run(requests.append, dag_file) == 0
    assert run(requests.append, dag_file, "--output", "there", "--media", "x", "--media", "~/y", "--fresh") == 0
    monkeypatch.setenv("OUTPUT_DIR", "/runs")
    assert run(requests.append, dag_file, "--dry-run", "--target", "process") == 0
    plain, asked, last = requests
    assert (plain.output, plain.target, plain.fresh, plain.dry_run) == (
        dag_file.parent / "output",
        "auto",
        False,
        False,
    )
    assert plain.dag.media == (dag_file.parent / "clip.mp4",)
    assert asked.output == dag_file.parent / "there"
    assert asked.dag.media == (dag_file.parent / "x", Path.home() / "y")
    assert asked.fresh
    assert (last.output, last.target, last.dry_run) == (Path("/runs"), "process", True)


@pytest.mark.parametrize(
    ("option", "shown"), [((), ["info", "warning"]), (("-v",), ["debug", "info", "warning"]), (("-q",), ["warning"])]
)
def test_how_much_is_told(
    dag_file: Path, option: tuple[str, ...], shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def program(_: Request) -> None:
        log.debug("debug")
        log.info("info")
        log.warning("warning")

    assert run(program, dag_file, *option) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(" ")[2] for line in err.splitlines()] == shown
    assert all(line[2] == line[5] == ":" for line in err.splitlines())  # the time


def test_warnings_of_the_dag_file_are_shown(dag_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dag_file.write_text(dag_file.read_text().replace("name: app", "name: app, nmae: x"))
    assert run(lambda _: None, dag_file) == 0
    assert "dag.yaml:1" in capsys.readouterr().err


def test_streams_that_were_closed_are_no_error(dag_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run(lambda _: print("result"), dag_file) == 0
    assert run(raiser(errors.RunError("what failed")), dag_file) == 5
    for stream in (sys.stdout, sys.stderr):
        stream.close()


def test_what_the_disk_refuses_before_any_work_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError) as caught, before_work(tmp_path):
        (tmp_path / "x" / "y").touch()
    assert str(tmp_path / "x" / "y") in caught.value.message
    with before_work(tmp_path):
        pass


def test_every_error_is_of_the_one_kind() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert all(issubclass(kind, AutopipeError) for kind in kinds)


# --- Progress ---


def tell(progress: Progress) -> None:
    progress.begin(3)
    progress.advance("a", {"event": "start", "kept": 1, "pending": 2})
    progress.advance("a", {"event": "invocation", "name": "a_1", "attempts": 1})
    progress.advance("a", {"event": "invocation", "name": "a_2", "attempts": 3})
    ran = [{"time": time, "seconds": seconds, "outputs": [{}]} for time, seconds in ((5.0, 1.0), (5.5, 2.25))]
    progress.end("a", {"state": "done"}, [{"outputs": [{}]}], ran)
    progress.advance("b", {"event": "start", "kept": 1, "pending": 0})
    progress.end("b", {"state": "done"}, [{"outputs": [{}]}], [])
    progress.end("c", {"state": "failed", "message": "why"}, [], [])


LINES = [
    "a: 2 to run, 1 done before",
    "a: a_2 took 3 attempts",
    "a: done, 3 files, 2.8 s",
    "b: done, 1 file, nothing to run",
    "c: failed: why",
]


@pytest.mark.parametrize("live", [False, True])
def test_a_step_is_a_line_or_two(live: bool, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(verbose=False, quiet=False)
    with follow(live=live) as progress:
        assert isinstance(progress, LiveProgress) is live
        assert progress.echo is None
        tell(progress)
    lines = [line.rstrip() for line in capsys.readouterr().err.splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert [line.partition(" ")[2] for line in lines] == LINES


def test_what_components_print_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(verbose=True, quiet=False)
    echo = Progress().echo
    assert echo is not None
    echo(b"line \xff\n")
    assert capsys.readouterr().err == "line \ufffd\n"


def test_nobody_has_to_listen_to_what_components_print(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up_logging(verbose=True, quiet=False)
    echo = Progress().echo
    assert echo is not None

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    echo(b"line\n")


@pytest.mark.parametrize(("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_counts(number: int, text: str) -> None:
    assert count(number, "file") == text
