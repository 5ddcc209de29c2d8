"""What is wrong before any step runs: status 2, 3 or 4, one message with a hint, no traceback, nothing written."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import Project, check_error, drop_override, run_main, tree

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def component_file(project: Project, inner: str) -> Path:
    return project.folder / "components" / inner


def replace(path: Path, make: Callable[[Path], object]) -> Path:
    path.unlink(missing_ok=True)
    make(path)
    return path


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def empty_folder(project: Project) -> None:
    project.media().unlink()


def two_alike(project: Project) -> None:
    project.media(name="x/clip.txt")
    project.media(name="y/clip.txt")
    project.write("ab", media=["media/x/clip.txt", "media/y/clip.txt"])


def alike_once_plain(project: Project) -> None:
    project.media(name="a b.txt")
    project.media(name="a_b.txt")


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def rewrite(text: str) -> Callable[[Project], object]:
    return lambda project: project.file.write_text(text)


WRONG: dict[str, tuple[Callable[[Project], object], int, str]] = {
    # what is wrong, the status, what the error says
    "no DAG file": (lambda p: p.file.unlink(), 2, "no such DAG file"),
    "a folder for a DAG file": (lambda p: replace(p.file, os.mkdir), 2, "is a folder"),
    "an empty DAG file": (rewrite(""), 2, "dag.yaml"),
    "no YAML": (rewrite("System: [unclosed"), 2, "dag.yaml"),
    "a cycle": (lambda p: p.write("ab", [["a", "b"], ["b", "a"]]), 2, "a -> b -> a"),
    "an unknown name": (lambda p: p.write("ab", [["a", "c"]]), 2, "'c'"),
    "a wrong option": (lambda p: p.write("ab", options={"a": {"cpu": "many"}}), 2, "cpu"),
    "a zero byte in an argument": (lambda p: p.write("ab", options={"a": {"args": ["x\0y"]}}), 2, "a character"),
    "a zero byte in a variable": (lambda p: p.write("ab", options={"a": {"env": {"X": "x\0y"}}}), 2, "a character"),
    "a zero byte in a command": (lambda p: p.write("ab", options={"a": {"command": ["sh", "\0"]}}), 2, "a character"),
    "half a letter": (lambda p: p.file.write_text(p.file.read_text().replace("sh", "\\ud800")), 2, "dag.yaml"),
    "no media named": (lambda p: p.write("ab", media=None), 2, "no media"),
    "missing media": (lambda p: p.write("ab", media="media/other.mp4"), 3, "no such media"),
    "media that leads nowhere": (
        lambda p: replace(p.folder / "media" / "clip.mp4", lambda path: path.symlink_to("gone")),
        3,
        "neither a file nor a folder",
    ),
    "a link to a folder among media": (lambda p: (p.folder / "media" / "x").symlink_to("."), 3, "a link to a folder"),
    "an empty media folder": (empty_folder, 3, "has no files"),
    "a hidden media file only": (lambda p: p.media().rename(p.folder / "media" / ".clip"), 3, "has no files"),
    "a fifo for media": (
        lambda p: (replace(p.folder / "media" / "clip.mp4", os.mkfifo), p.write("ab", media="media/clip.mp4")),
        3,
        "neither a file nor a folder",
    ),
    "media of the same name": (two_alike, 2, "clip.txt"),
    "media of the same plain name": (alike_once_plain, 2, "a_b.txt"),
    "a pointer for media": (lambda p: p.media(POINTER), 3, "LFS pointer"),
    "a missing component": (lambda p: p.write("abc"), 3, "component c"),
    "two missing components": (lambda p: p.write("abcd"), 3, "2 components"),
    "a file for a component": (
        lambda p: (p.write("abc"), component_file(p, "c").write_text("x")),
        3,
        "component c",
    ),
    "a component without a program": (
        lambda p: (make_folder(component_file(p, "c/data")), p.write("abc")),
        3,
        "main.py",
    ),
    "a pointer in a component": (lambda p: component_file(p, "a/model.onnx").write_text(POINTER), 3, "LFS pointer"),
    "a link out of a component": (lambda p: component_file(p, "a/x").symlink_to("../b/main.sh"), 3, "leaves the comp"),
    "a link to nothing out of it": (lambda p: component_file(p, "a/x").symlink_to("/no/such"), 3, "leaves the comp"),
    "a link in a circle": (lambda p: component_file(p, "a/x").symlink_to("x"), 3, "x"),
    "requirements that are no text": (
        lambda p: component_file(p, "a/requirements.txt").write_bytes(b"\xff\xfe\x00"),
        4,
        "component a",
    ),
    "a Python that is nowhere": (lambda p: p.write("ab", options={"a": {"python": "3.99"}}), 2, "3.99"),
    "settings that are no text": (lambda p: (p.folder / "empty.env").write_bytes(b"A=\xff\xfe\0\n"), 2, "empty.env"),
    "a folder for settings": (lambda p: replace(p.folder / "empty.env", os.mkdir), 2, "empty.env"),
    "no settings": (lambda p: (p.folder / "empty.env").unlink(), 2, "empty.env"),
}

LATE = {
    "invalid": b"librosa=0.10.0\n",
    "unknown": b"no-such-thing-anywhere==1\n",
    "a folder that is not there": b"./nothing\n",
    "a file that is not there": b"-r nothing.txt\n",
}


@pytest.fixture
def small(project: Project) -> Project:
    project.media()
    project.component("a")
    project.component("b")
    project.write("ab", [["a", "b"]])
    return project


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_told_and_nothing_is_written(small: Project, kind: str, more: list[str]) -> None:
    make, status, message = WRONG[kind]
    make(small)
    before = tree(small.folder)
    outcome = small.fail(status, *more)
    assert message in "\n".join(outcome.errors)
    assert tree(small.folder) == before


@pytest.mark.parametrize("kind", LATE)
def test_what_shows_when_environments_are_made_is_told_and_no_run_is_begun(small: Project, kind: str) -> None:
    small_file = component_file(small, "a/requirements.txt")
    small_file.write_bytes(LATE[kind])
    outcome = small.fail(4)
    assert "component a" in outcome.errors[0]
    assert not list(small.place.glob("2*"))


@pytest.mark.parametrize("name", ["output", "output/app"])
def test_a_file_in_the_place_of_the_output_folder(small: Project, name: str) -> None:
    (small.folder / name).parent.mkdir(exist_ok=True)
    (small.folder / name).write_text("mine")
    before = tree(small.folder)
    assert "--output" in small.fail(2).errors[-1]
    assert tree(small.folder) == before


ARGUMENTS: dict[str, tuple[list[str], int]] = {
    "missing media": (["--media", "/no/such/file"], 3),
    "a name that is too long": (["--media", "x" * 5000], 3),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_a_wrong_argument_is_told(small: Project, kind: str) -> None:
    arguments, status = ARGUMENTS[kind]
    before = tree(small.folder)
    small.fail(status, *arguments)
    assert tree(small.folder) == before


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["-i"], ["--no-such-option"], ["-i", "x", "--target", "moon"], ["-i", "x", "-v", "-q"]),
        *(["-i", "x", "--media", ""], ["-i", "x", "--output", " "], ["-i", ""]),
    ],
)
def test_arguments_that_are_no_command_are_refused(arguments: list[str]) -> None:
    outcome = run_main(arguments)
    assert outcome.status == 2
    assert outcome.err.startswith("usage: autopipe.py")
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("inner", "status"),
    [
        ("media/clip.mp4", 3),
        ("media", 3),
        ("media/sub", 3),
        ("components/a/main.sh", 3),
        ("components/a/sub", 3),
        ("components/a/requirements.txt", 3),
        ("dag.yaml", 2),
        ("empty.env", 2),
    ],
)
def test_what_cannot_be_read_is_told(small: Project, inner: str, status: int) -> None:
    small.media("another", "sub/other.mp4")
    for name in ("sub/x", "requirements.txt"):
        component_file(small, "a/sub").mkdir(exist_ok=True)
        component_file(small, f"a/{name}").touch()
    before = tree(small.folder)
    path = small.folder / inner
    path.chmod(0)
    outcome = small.execute(preexec_fn=drop_override)
    path.chmod(before[inner][1] & 0o777)
    assert outcome.status == status, outcome.err
    check_error(outcome)
    assert str(path) in outcome.err
    assert tree(small.folder) == before


@pytest.mark.parametrize("make", [os.mkfifo, listen])
def test_pipes_and_sockets_are_no_part_of_a_component(small: Project, make: Callable[[Path], object]) -> None:
    small.succeed()
    make(component_file(small, "a/x"))
    assert small.succeed().ran == {}


def test_an_output_folder_without_rights(small: Project) -> None:
    small.output.mkdir()
    small.output.chmod(0o555)
    outcome = small.execute(preexec_fn=drop_override)
    assert outcome.status == 2
    check_error(outcome)
    assert list(small.output.iterdir()) == []
    small.output.chmod(0o755)
    small.succeed()
    small.place.chmod(0o555)
    outcome = small.execute(preexec_fn=drop_override)
    small.place.chmod(0o755)
    assert outcome.status == 2, outcome.err
    check_error(outcome)


def test_a_cache_that_cannot_be_written(small: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    component_file(small, "a/model.bin").write_bytes(bytes(3 << 20))
    os.utime(component_file(small, "a/model.bin"), (1, 1))
    (tmp_path / "cache").mkdir(0o555)
    outcome = small.execute(preexec_fn=drop_override)
    assert outcome.status == 4, outcome.err
    check_error(outcome)
    (tmp_path / "cache").chmod(0o755)
    small.succeed()
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_dir():
            path.chmod(0o555)
    (tmp_path / "cache").chmod(0o555)
    component_file(small, "a/other.bin").write_bytes(bytes(3 << 20))
    outcome = small.execute(preexec_fn=drop_override)
    (tmp_path / "cache").chmod(0o755)
    assert outcome.status == 0, outcome.err
    assert outcome.ran == {"a": 1}


def test_a_folder_that_a_component_locked_is_removed(small: Project) -> None:
    small.component(
        "a", 'mkdir -p "$TMPDIR/x/y"; touch "$TMPDIR/x/y/z"; chmod 0 "$TMPDIR/x/y" "$TMPDIR/x"; cp "$in" "$out"'
    )
    outcome = small.execute(preexec_fn=drop_override)
    assert outcome.status == 0, outcome.err
    assert not (outcome.folder / "_work").exists()


def test_a_folder_of_the_users_called_latest_is_left(small: Project) -> None:
    (small.place / "latest" / "mine").mkdir(parents=True)
    outcome = small.run()
    assert outcome.status == 6
    check_error(outcome)
    assert "latest" in outcome.errors[0]
    assert (small.place / "latest" / "mine").is_dir()
    assert small.runs()
