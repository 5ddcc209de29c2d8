"""Locks, remembered sums, plain paths, and the folder of a run."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from src import step as launcher
from src import sums as sums_module
from src.dag import Dag
from src.errors import BusyError, ConfigError, OutputError
from src.lock import lock_dag, share_lock, try_lock
from src.paths import plain_link, plain_path
from src.plan import make_plan
from src.record import close_folder, open_run, point_latest, write_text
from src.recovery import recover_runs
from src.settings import Settings
from src.store import Store
from src.sums import WORTH, SumMemory

SETTINGS = Settings(cache_dir=Path("/nonexistent"))

# --- Locks ---


def dag(path: str = "/x/dag.yaml", name: str = "app") -> Dag:
    return Dag(path=Path(path), name=name, components=("a",), edges=())


def test_a_dag_is_locked_once_for_each_folder(tmp_path: Path) -> None:
    with lock_dag(dag(), tmp_path):
        with pytest.raises(BusyError, match=f"process {os.getpid()}"), lock_dag(dag(), tmp_path):
            pytest.fail("it was locked twice")
        for other, output in ((dag(), "other"), (dag("/y/dag.yaml"), ""), (dag(name="app2"), "")):
            with lock_dag(other, tmp_path / output):
                pass
    with lock_dag(dag(), tmp_path):
        pass


def test_a_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock_dag(dag(), tmp_path):
        raise RuntimeError
    with lock_dag(dag(), tmp_path):
        pass


@pytest.mark.parametrize("content", [b"", b"junk", b"999999999\n", b"\xff" * 100])
def test_what_a_dead_process_wrote_into_its_lock_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    with lock_dag(dag(), tmp_path):
        (path,) = (tmp_path / "app").glob(".lock-*")
    path.write_bytes(content)
    with (
        lock_dag(dag(), tmp_path),
        pytest.raises(BusyError, match=f"process {os.getpid()}"),
        lock_dag(dag(), tmp_path),
    ):
        pytest.fail("it was locked twice")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write") as caught, lock_dag(dag(), tmp_path / "file"):
        pytest.fail("it was locked")
    assert "--output" in caught.value.hint


HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
os.write(fd, b"%d\\n" % int(sys.argv[2] or os.getpid()))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("holder", ["", "999999999"])
def test_a_lock_of_a_process_that_is_gone_is_waited_for_a_moment(tmp_path: Path, holder: str) -> None:
    # As a child has it that its killed parent was starting: the file names a process that is no more.
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path), holder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        fd = os.open(path, os.O_RDWR)
        started = time.monotonic()
        assert try_lock(fd) is False
        assert not holder or time.monotonic() - started >= 0.5
        child.stdin.close()
        child.wait()
        assert try_lock(fd) is True
        os.close(fd)


def test_a_lock_may_be_shared(tmp_path: Path) -> None:
    fds = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(3)]
    share_lock(fds[0])
    share_lock(fds[1])
    assert try_lock(fds[2]) is False
    for fd in fds[:2]:
        os.close(fd)
    assert try_lock(fds[2]) is True
    os.close(fds[2])


# --- Remembered sums ---


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose sums are made by reading; all that a test writes counts as written long ago."""
    found: list[str] = []
    real = launcher.sha256_of

    def read(path: Path) -> str:
        found.append(path.name)
        return real(path)

    monkeypatch.setattr(sums_module, "sha256_of", read)
    monkeypatch.setattr(sums_module, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 10_000_000_000))
    return found


def sum_of(cache: Path, path: Path) -> str:
    with SumMemory(cache) as memory:
        return memory.sha256(path, path.stat())


def test_a_large_file_is_read_once_and_a_small_one_always(tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "large").write_bytes(bytes(WORTH))
    (tmp_path / "small").write_bytes(bytes(WORTH - 1))
    for _ in range(2):
        for name in ("large", "small"):
            sum_of(tmp_path / "cache", tmp_path / name)
    assert sorted(reads) == ["large", "small", "small"]


@pytest.mark.parametrize("how", ["content", "time", "replaced", "old time"])
def test_a_changed_file_is_read_again(tmp_path: Path, reads: list[str], how: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(bytes(WORTH))
    before, status = sum_of(tmp_path / "cache", path), path.stat()
    if how == "time":
        os.utime(path, (1, 1))
    else:
        target = tmp_path / "new" if how == "replaced" else path
        target.write_bytes(b"x" * WORTH)
        target.replace(path)
        if how == "old time":
            os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert (sum_of(tmp_path / "cache", path) == before) == (how == "time")
    assert len(reads) == 2


def test_a_file_written_just_now_is_not_remembered(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums_module, "time", time)
    (tmp_path / "model").write_bytes(bytes(WORTH))
    sum_of(tmp_path / "cache", tmp_path / "model")
    sum_of(tmp_path / "cache", tmp_path / "model")
    assert len(reads) == 2
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_torn_memory_is_none(tmp_path: Path, reads: list[str], content: bytes) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "sums.json").write_bytes(content)
    (tmp_path / "model").write_bytes(bytes(WORTH))
    assert sum_of(tmp_path / "cache", tmp_path / "model") == sum_of(tmp_path / "cache", tmp_path / "model")
    assert len(reads) == 1


def test_a_memory_that_cannot_be_written_ends_nothing(tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "model").write_bytes(bytes(WORTH))
    assert re.fullmatch("[0-9a-f]{64}", sum_of(tmp_path / "file" / "cache", tmp_path / "model"))


# --- Plain paths ---


@pytest.mark.parametrize("name", ["with blank", "dot.dot", "ünï", "quote'", "new\nline", "$(id)", "-dash ", "plain"])
def test_a_plain_path_leads_to_the_folder_and_is_gone_afterwards(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with plain_path(folder) as path:
        assert re.fullmatch("[A-Za-z0-9_/-]+", str(path))
        assert path.samefile(folder)
        assert path.is_symlink() == (name != "plain")
    assert not plain_link(folder).is_symlink()
    with pytest.raises(RuntimeError), plain_path(folder):
        raise RuntimeError
    assert not plain_link(folder).is_symlink()


def test_a_temporary_folder_with_blanks_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "my tmp"))
    folder = tmp_path / "with blank"
    folder.mkdir()
    with plain_path(folder) as path:
        assert " " not in str(path)
        assert path.samefile(folder)


# --- The folder of a run ---


def test_a_run_has_its_folder_for_a_time_and_leaves_what_people_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "app" / ".store")
    with open_run(make_plan(dag()), tmp_path, store, (), {}) as run:
        assert (run.folder / ".autopipe" / "steps").is_dir()
        assert run.folder.parent == tmp_path / "app"
        assert recover_runs(run.folder.parent, store, SETTINGS) == 0  # it is at work
        (run.folder / ".autopipe" / "logs" / "a.log").write_text("log")
        (run.folder / "a").mkdir()
        (run.folder / ".run.json.1234abcd").write_text("torn")
        close_folder(run.folder)
    point_latest(run)
    assert sorted(path.name for path in run.folder.iterdir()) == ["a", "logs", "run.json"]
    assert (tmp_path / "app" / "latest" / "logs" / "a.log").read_text() == "log"
    assert list((store.folder / "tmp").iterdir()) == []


def test_a_run_that_died_is_taken_over_wherever_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "app" / ".store")
    with pytest.raises(RuntimeError), open_run(make_plan(dag()), tmp_path, store, (), {}) as run:
        raise RuntimeError
    closing = tmp_path / "app" / "20200101-000000-dead" / ".autopipe-closing"
    closing.mkdir(parents=True)
    assert recover_runs(tmp_path / "app", store, SETTINGS) == 1
    assert sorted(path.name for path in run.folder.iterdir()) == ["logs", "run.json"]
    assert '"interrupted"' in (run.folder / "run.json").read_text()
    assert not closing.exists()


def test_latest_moves_on_and_takes_nothing_of_the_users(tmp_path: Path) -> None:
    store = Store(tmp_path / "app" / ".store")
    for _ in range(2):
        with open_run(make_plan(dag()), tmp_path, store, (), {}) as run:
            close_folder(run.folder)
        point_latest(run)
        assert (tmp_path / "app" / "latest").resolve() == run.folder
    (tmp_path / "app" / "latest").unlink()
    (tmp_path / "app" / "latest").mkdir()
    with pytest.raises(OutputError, match="latest"):
        point_latest(run)


def test_a_text_is_seen_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "x.json", "first")
    monkeypatch.setattr(Path, "replace", lambda *_: pytest.fail("no room"))
    with pytest.raises(pytest.fail.Exception):
        write_text(tmp_path / "x.json", "second")
    assert (tmp_path / "x.json").read_text() == "first"
