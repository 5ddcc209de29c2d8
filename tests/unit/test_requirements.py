"""What components need: lines of requirements, Debian packages, Pythons; and where their environments lie."""

import os
import shutil
from pathlib import Path

import pytest

from src import environments
from src.environments import find_environment, place_of
from src.errors import ConfigError, ImageError
from src.packages import missing_packages, read_packages
from src.pythons import find_python

# --- requirements.sys ---


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"", []),
        (b"\n\n  \n", []),
        (b"# only a comment", []),
        (b"ffmpeg", ["ffmpeg"]),
        (b"ffmpeg\nlibsm6\n", ["ffmpeg", "libsm6"]),
        (b"ffmpeg\r\nlibsm6\r\n", ["ffmpeg", "libsm6"]),
        (b"\xef\xbb\xbfffmpeg  # for video\n\n libsm6\tlibxext6 # and\n#libgl1\n", ["ffmpeg", "libsm6", "libxext6"]),
        (b"ffmpeg=7:5.1 \xff", ["ffmpeg=7:5.1", "\ufffd"]),
    ],
)
def test_system_requirements_in_every_shape(tmp_path: Path, content: bytes, names: list[str]) -> None:
    (tmp_path / "requirements.sys").write_bytes(content)
    assert read_packages(tmp_path / "requirements.sys") == names


def test_no_system_requirements(tmp_path: Path) -> None:
    assert read_packages(tmp_path / "requirements.sys") == []
    assert missing_packages(tmp_path / "requirements.sys") == []


@pytest.fixture
def dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where ffmpeg and libgl1, which is libgl too, are installed, curl was removed, and sox is a program."""
    programs = tmp_path / "bin"
    programs.mkdir()
    answer = "installed ffmpeg \\ninstalled libgl1 libgl, libgl-other (= 1)\\nconfig-files curl \\n"
    (programs / "dpkg-query").write_text(f"#!/bin/sh\nprintf '{answer}'; exit 1\n")
    (programs / "sox").write_text("#!/bin/sh\n")
    for path in programs.iterdir():
        path.chmod(0o755)
    (programs / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    monkeypatch.setenv("PATH", str(programs))


@pytest.mark.usefixtures("dpkg")
def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.sys").write_text("ffmpeg libgl libgl-other libgl1=1.2 sox curl nothing\nnothing-2=3")
    assert missing_packages(tmp_path / "requirements.sys") == ["curl", "nothing", "nothing-2=3"]


def test_nothing_is_said_where_there_is_no_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.sys").write_text("nothing")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert missing_packages(tmp_path / "requirements.sys") == []


# --- requirements.txt and the place of an environment ---


def place(folder: Path, text: str | bytes | None, python: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    if text is not None:
        (folder / "requirements.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return place_of(folder, python, folder.parent / "cache")


def test_what_says_the_same_shares_an_environment(tmp_path: Path) -> None:
    texts = ["thing==1\nother", "other\r\nthing==1\r\n", "# why\n\n  thing==1\nother\n", "\ufeffother\nthing==1"]
    assert len({place(tmp_path / f"c{number}", text) for number, text in enumerate(texts)}) == 1
    nothing = [None, "", "\n", "# nothing\n"]
    assert len({place(tmp_path / f"n{number}", text) for number, text in enumerate(nothing)}) == 1


def test_what_says_something_else_has_one_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [place(tmp_path / f"c{number}", text) for number, text in enumerate(["", "thing", "thing==1", "other"])]
    places.append(place(tmp_path / "c0", "", python="3.9"))
    monkeypatch.setattr(environments, "_stub_sum", lambda: "another stub")
    places.append(place(tmp_path / "c0", ""))
    assert len(set(places)) == 6


@pytest.mark.parametrize(
    "line",
    ["-r more.txt", "-rmore.txt", "--requirement=more.txt", "-c more.txt", "./pkg", "pkg/x.whl", "x.whl", "-e ."],
)
def test_files_that_lines_name_count_with_their_content(tmp_path: Path, line: str) -> None:
    first = place(tmp_path / "c", line)
    assert place(tmp_path / "c", line) == first
    (tmp_path / "c" / "more.txt").write_text("thing")
    assert place(tmp_path / "c", line) != first


def test_requirements_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is no text"):
        place(tmp_path / "c", b"\xff\xfe\0")


@pytest.mark.parametrize("content", [None, "", "{", '{"id": "x"}'])
def test_only_a_complete_environment_is_one(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "bin").mkdir()
    if content is not None:
        (tmp_path / "autopipe.json").write_text(content)
    assert find_environment(tmp_path) is None
    (tmp_path / "bin" / "python").symlink_to("/nonexistent/python")
    assert find_environment(tmp_path) is None
    (tmp_path / "bin" / "python").unlink()
    (tmp_path / "bin" / "python").touch()
    found = find_environment(tmp_path)
    assert (found is not None) == (content == '{"id": "x"}')


# --- Pythons ---


@pytest.fixture
def pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with Pythons that only say their version."""

    def add(inner: str, script: str) -> None:
        path = tmp_path / inner
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    add("bin/python3", "echo 3.11.2")
    add("bin/python3.9", "echo not chosen >&2; exit 127")  # a shim
    add("bin/python3.10", "echo 3.10.1")
    add("pyenv/versions/3.9.18/bin/python3", "echo 3.9.18")
    add("pyenv/versions/3.9.4/bin/python3", "echo 3.9.4")
    add("uv/cpython-3.13/bin/python3", "echo 3.13.0rc1+")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    return tmp_path


@pytest.mark.parametrize(
    ("version", "inner"),
    [
        ("3", "bin/python3"),
        ("3.11", "bin/python3"),
        ("3.11.2", "bin/python3"),
        ("3.10", "bin/python3.10"),
        ("3.9", "pyenv/versions/3.9.18/bin/python3"),
        ("3.9.4", "pyenv/versions/3.9.4/bin/python3"),
        ("3.13", "uv/cpython-3.13/bin/python3"),
    ],
)
def test_an_installed_python_is_found(pythons: Path, version: str, inner: str) -> None:
    assert find_python(version, "a") == pythons / inner


@pytest.mark.parametrize("version", ["3.1", "3.12", "3.9.1", "3.11.20"])
def test_a_python_that_is_not_installed_is_refused_with_those_that_are(pythons: Path, version: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_python(version, "a")
    assert f"component a asks for Python {version}" in caught.value.message
    assert "3.9.4, 3.9.18" in caught.value.details[0]
    assert caught.value.hint


def test_a_machine_without_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "PYENV_ROOT", "UV_PYTHON_INSTALL_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        find_python("3.9", "a")
    assert caught.value.details == ()
    assert os.environ["PATH"] == str(tmp_path)
