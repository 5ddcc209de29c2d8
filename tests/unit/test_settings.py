"""Settings: from the environment, then from a file; blank values are none."""

import os
from pathlib import Path

import pytest

from src import settings as settings_module
from src.errors import ConfigError
from src.settings import ROOT, load_settings


@pytest.fixture(autouse=True)
def no_file_beside_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "ROOT", tmp_path / "program")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.env"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("OUTPUT_DIR=/runs", "/runs"),
        ("OUTPUT_DIR = /runs ", "/runs"),
        ("export OUTPUT_DIR=/runs", "/runs"),
        ("OUTPUT_DIR='/my runs'", "/my runs"),
        ('OUTPUT_DIR="/my runs"  # why', "/my runs"),
        ("OUTPUT_DIR=/runs\r\n", "/runs"),
        ("# OUTPUT_DIR=/other\nOUTPUT_DIR=/runs", "/runs"),
        ("OUTPUT_DIR=/a/${HOME}", "/a/${HOME}"),  # nothing is put in: a password may have any character
        ("OUTPUT_DIR=", None),
        ("OUTPUT_DIR=' '", None),
        ('OUTPUT_DIR="   "', None),
        ("OUTPUT_DIR=\t ", None),
        ("OUTPUT_DIR", None),
        ("", None),
    ],
)
def test_a_line_of_the_file(tmp_path: Path, line: str, value: str | None) -> None:
    found = load_settings(write(tmp_path, line), {}).output_dir
    assert found == (Path(value) if value else None)


def test_the_environment_wins_unless_it_is_blank(tmp_path: Path) -> None:
    path = write(tmp_path, "OUTPUT_DIR=/file\n")
    assert load_settings(path, {"OUTPUT_DIR": "/environment"}).output_dir == Path("/environment")
    for blank in ("", " ", "\t\n"):
        assert load_settings(path, {"OUTPUT_DIR": blank}).output_dir == Path("/file")


def test_paths_are_absolute_and_know_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    found = load_settings(None, {"OUTPUT_DIR": "runs", "COMPONENTS_DIR": " ~/components "})
    assert found.output_dir == tmp_path / "runs"
    assert found.components_dir == Path("/home/somebody/components")
    assert found.cache_dir == Path("/home/somebody/.cache/autopipe")
    assert load_settings(None, {"XDG_CACHE_HOME": "/c"}).cache_dir == Path("/c/autopipe")
    assert load_settings(None, {"XDG_CACHE_HOME": " "}).cache_dir == Path("/home/somebody/.cache/autopipe")
    assert load_settings(None, {"CACHE_DIR": "/d", "XDG_CACHE_HOME": "/c"}).cache_dir == Path("/d")


def test_the_file_beside_the_program_is_read_when_none_is_named(tmp_path: Path) -> None:
    assert load_settings(None, {}).output_dir is None
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / ".env").write_text("OUTPUT_DIR=/beside")
    assert load_settings(None, {}).output_dir == Path("/beside")
    assert load_settings(write(tmp_path, ""), {}).output_dir is None


@pytest.mark.parametrize("kind", ["absent", "folder", "binary"])
def test_a_named_file_that_cannot_be_read_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "named.env"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"A=\xff\xfe\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_pipe_is_a_file_too() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"OUTPUT_DIR=/piped\n")
    os.close(writer)
    try:
        assert load_settings(Path(f"/dev/fd/{reader}"), {}).output_dir == Path("/piped")
    finally:
        os.close(reader)


def test_the_shipped_file_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = ROOT / ".env"
    monkeypatch.setattr(settings_module, "ROOT", Path("/nonexistent"))
    assert load_settings(shipped, {}) == load_settings(None, {})
    names = {line.lstrip("#").partition("=")[0] for line in shipped.read_text().splitlines() if "=" in line}
    assert {"REGISTER_USERNAME", "REGISTER_PASSWORD", "KFP_API_URL"} <= names


def test_no_secret_is_shown() -> None:
    found = load_settings(None, {"KFP_TOKEN": "hidden-1", "DEX_PASSWORD": "hidden-2", "REGISTER_PASSWORD": "hidden-3"})
    assert "hidden" not in repr(found)
