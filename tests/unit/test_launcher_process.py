"""Children of the launcher: followed, timed out, ended with all that they left; and the folders they are given."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from src import step as launcher
from src.step import Cancel, Cancelled, Process, Tail, clone, kill_marked, link_tree, remove_tree
from tests.support import ROOT, has_ended


@pytest.fixture(params=["pidfd", "no pidfd"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system with pidfd_open, and one without, as Python 3.8 is."""
    if request.param == "no pidfd":
        monkeypatch.setattr(launcher, "_open_pidfd", lambda _: -1)


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "GRACE", 0.1)


class Child:
    """A child of sh, with what it printed; where its script writes to $READY, it has come so far."""

    def __init__(self, script: str, mark: str = "unit-test/none") -> None:
        self.mark, self.printed, self.cancel = mark, b"", Cancel()
        reader, writer = os.pipe()
        self.popen = subprocess.Popen(
            ["sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "AUTOPIPE_MARK": mark, "READY": f"/dev/fd/{writer}"},
            pass_fds=[writer],
        )
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            self.ready = file.readline() if "$READY" in script else b""
        self.process = Process(self.popen, self.take, self.cancel)

    def take(self, chunk: bytes) -> None:
        self.printed += chunk

    def follow(self, timeout: float | None = None) -> bool:
        try:
            return self.process.follow(timeout)
        finally:
            self.process.close(self.mark)


@pytest.mark.usefixtures("system")
class TestProcess:
    @pytest.mark.parametrize("status", [0, 3])
    def test_all_that_it_prints_is_passed_on(self, status: int) -> None:
        child = Child(f"seq 20000; echo error >&2; exit {status}")
        assert child.follow()
        assert child.popen.returncode == status
        assert child.printed == b"".join(b"%d\n" % number for number in range(1, 20001)) + b"error\n"

    def test_one_that_closes_its_output_is_followed_to_its_end(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "go")
        child = Child(f"exec > /dev/null 2>&1; read -r _ < {tmp_path}/go; echo end > {tmp_path}/end; exit 4")
        threading.Timer(0.3, (tmp_path / "go").write_text, ["go\n"]).start()
        assert child.follow()
        assert child.popen.returncode == 4
        assert (tmp_path / "end").exists()

    def test_one_that_takes_too_long_is_ended(self) -> None:
        child = Child("echo begun; echo > $READY; exec sleep 1000")
        assert child.follow(0.3) is False
        assert child.popen.returncode == -signal.SIGTERM
        assert child.printed == b"begun\n"

    def test_one_that_ignores_sigterm_is_killed(self) -> None:
        child = Child("trap '' TERM; echo > $READY; while :; do sleep 1000; done")
        assert child.follow(0.3) is False
        assert child.popen.returncode == -signal.SIGKILL

    def test_one_that_ends_well_when_asked_to_is_late_all_the_same(self) -> None:
        child = Child("trap 'exit 0' TERM; echo > $READY; sleep 1000 & wait")
        assert child.follow(0.3) is False

    def test_what_it_left_in_its_group_is_ended_and_not_waited_for(self) -> None:
        child = Child("sleep 1000 & echo $!")
        assert child.follow()
        assert has_ended(int(child.printed))

    def test_what_left_its_group_with_the_output_is_ended(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "go")
        script = f"setsid sh -c 'echo $$; echo > {tmp_path}/go; exec sleep 1000' & read -r _ < {tmp_path}/go"
        child = Child(script, "unit-test/setsid")
        assert child.follow()
        assert has_ended(int(child.printed))

    def test_a_cancelled_one_is_ended(self) -> None:
        child = Child("echo begun; exec sleep 1000")
        threading.Timer(0.2, child.cancel.set).start()
        with pytest.raises(Cancelled), child.cancel.watch(child.popen.pid):
            child.follow()
        assert child.popen.returncode == -signal.SIGTERM

    def test_what_is_cancelled_before_it_begins_is_ended_at_once(self) -> None:
        child = Child("exec sleep 1000")
        child.cancel.set()
        with pytest.raises(Cancelled), child.cancel.watch(child.popen.pid):
            child.follow()
        assert child.popen.returncode == -signal.SIGTERM

    def test_a_signal_while_another_is_handled_asks_too(self) -> None:
        # With a lock that cannot be taken twice by one thread this ends at the tool's limit, having said nothing.
        script = (
            "import signal; from src.step import Cancel; cancel, handled = Cancel(), []\n"
            "signal.signal(signal.SIGALRM, lambda *_: (cancel.set(), handled.append(1)))\n"
            "signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)\n"
            "while len(handled) < 500: cancel.set()\n"
            "signal.setitimer(signal.ITIMER_REAL, 0)\n"
            "print(cancel.is_set(), cancel.wait(1000))"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=20)
        assert done.stdout == "True True\n", done.stderr

    def test_it_leaves_no_descriptor(self) -> None:
        before = sorted(os.listdir("/proc/self/fd"))
        assert Child("true").follow()
        assert sorted(os.listdir("/proc/self/fd")) == before


# --- Marks ---


@pytest.fixture
def marked() -> Iterator["dict[str, subprocess.Popen[bytes]]"]:
    """Children with several marks, and one without."""
    marks = ["run-1/a", "run-1/b", "run-10/a", "run-1", ""]
    found = {}
    for mark in marks:
        environ = {**os.environ, **({"AUTOPIPE_MARK": mark} if mark else {}), "OTHER": "AUTOPIPE_MARK=run-1/a"}
        found[mark] = subprocess.Popen(["sleep", "1000"], env=environ)
    yield found
    for child in found.values():
        child.kill()
        child.wait()


def test_what_has_a_mark_is_killed_and_nothing_else(marked: "dict[str, subprocess.Popen[bytes]]") -> None:
    assert kill_marked("run-1") == 3
    for mark in ("run-1/a", "run-1/b", "run-1"):
        assert marked[mark].wait() == -signal.SIGKILL
    assert marked["run-10/a"].poll() is None
    assert marked[""].poll() is None
    assert kill_marked("run-1") == 0


# --- The tail ---


def test_the_tail_is_the_last_lines() -> None:
    tail = Tail()
    for number in range(100_000):
        tail.add(b"line %d\n" % number)
    assert tail.lines() == [f"line {number}" for number in range(100_000 - launcher.TAIL_LINES, 100_000)]


def test_the_tail_of_one_endless_line_is_bounded() -> None:
    tail = Tail()
    for _ in range(1000):
        tail.add(b"x" * 65536)
    assert sum(map(len, tail.lines())) == launcher.TAIL_BYTES


def test_the_tail_moves_no_cursor() -> None:
    tail = Tail()
    tail.add(b"10%\r20%\r\n\033[31mred\033[0m\n\n  \n\tok \xc3\xbc \xff\x07\n")
    assert tail.lines() == ["10%", "20%", "?[31mred?[0m", "\tok ü \ufffd?"]
    assert Tail().lines() == []


# --- Folders ---


def test_a_folder_of_links_leads_to_the_files_and_keeps_what_is_new(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("main.py", "small.txt", "sub/large.bin", ".git/HEAD", "__pycache__/main.pyc", "sub/__pycache__/x.pyc"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "small.txt").chmod(0o755)
    with (source / "sub" / "large.bin").open("wb") as file:
        file.truncate(launcher.SMALL + 1)
    (source / "inner").symlink_to("sub/large.bin")
    (source / "gone").symlink_to("nothing")
    target = tmp_path / "target"
    link_tree(source, target)
    found = {str(path.relative_to(target)): path.is_symlink() for path in target.rglob("*")}
    assert found == {
        "main.py": True,
        "small.txt": False,
        "sub": False,
        "sub/large.bin": True,
        "inner": True,
        "gone": True,
    }
    assert (target / "inner").resolve() == source / "sub" / "large.bin"
    assert os.access(target / "small.txt", os.X_OK)
    (target / "small.txt").write_text("changed")
    (target / "sub" / "new").write_text("new")
    (target / "main.py").unlink()
    assert (source / "small.txt").read_text() == "small.txt"
    assert (source / "main.py").exists()
    assert not (source / "sub" / "new").exists()


def test_a_clone_is_the_same_file_or_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "reflink", lambda *_: False)
    source = tmp_path / "source"
    source.write_text("text")
    source.chmod(0o750)
    clone(source, tmp_path / "linked")
    clone(source, tmp_path / "copied", link=False)
    assert (tmp_path / "linked").samefile(source)
    assert not (tmp_path / "copied").samefile(source)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("another disk")))
    clone(source, tmp_path / "fallback")
    for name in ("copied", "fallback"):
        assert (tmp_path / name).read_text() == "text"
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o750


def test_a_reflink_is_a_file_of_its_own_or_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("text")
    if launcher.reflink(source, target):
        target.write_text("other")
        assert source.read_text() == "text"
    else:
        assert not target.exists()


def test_a_folder_is_removed_whatever_rights_are_in_it_and_nothing_beside_it(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir(0o500)
    (tmp_path / "x" / "y" / "z").mkdir(parents=True)
    (tmp_path / "x" / "link").symlink_to(beside)
    (tmp_path / "x" / "y").chmod(0o000)
    (tmp_path / "x").chmod(0o500)
    remove_tree(tmp_path / "x")
    assert not (tmp_path / "x").exists()
    assert beside.stat().st_mode & 0o777 == 0o500
    remove_tree(tmp_path / "x")  # nothing there is no error


def test_the_launcher_needs_nothing_but_the_standard_library() -> None:
    # Without site no package of this environment is found.
    command = [sys.executable, "-I", "-S", "-c", "import runpy, sys; runpy.run_path(sys.argv[1], run_name='launcher')"]
    done = subprocess.run([*command, launcher.__file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- What a full disk is told with ---


@pytest.mark.parametrize(
    ("place", "hint"), [({}, "free some space"), ({"KUBERNETES_SERVICE_HOST": "x"}, "STORAGE_SIZE")]
)
def test_a_full_volume_is_told_with_what_makes_room(
    place: dict[str, str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    assert launcher._room(tmp_path) == ""
    monkeypatch.setattr("src.step.shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    assert hint in launcher._room(tmp_path)
