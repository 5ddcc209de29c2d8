"""Content sums: of archives by what is in them, of all else by their bytes."""

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from src import step as launcher
from src.step import StepError, content_of, file_entry, is_intact

Members = Mapping[str, tuple[bytes, int]]
MEMBERS: Members = {"video.mp4": (b"frames" * 100, 0o644), "sub/tool.sh": (b"#!/bin/sh\n", 0o755)}


def write_tar(path: Path, members: Members, *, mtime: int = 0, mode: str = "w", uid: int = 0, prefix: str = "") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, (data, rights) in members.items():
            info = tarfile.TarInfo(prefix + name)
            info.size, info.mode, info.mtime, info.uid = len(data), rights, mtime, uid
            archive.addfile(info, io.BytesIO(data))


def write_zip(path: Path, members: Members, *, mtime: int = 0, **_: Any) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (data, rights) in members.items():
            info = zipfile.ZipInfo(name, (2000 + mtime % 50, 1, 1, 0, 0, 0))
            info.external_attr = (0o100000 | rights) << 16
            archive.writestr(info, data)


def packer(mode: str) -> Callable[..., None]:
    return lambda path, members, **more: write_tar(path, members, mode=mode, **more)


PACKERS: dict[str, Callable[..., None]] = {
    ".tar": packer("w"),
    ".tar.gz": packer("w:gz"),
    ".tgz": packer("w:gz"),
    ".tar.bz2": packer("w:bz2"),
    ".tar.xz": packer("w:xz"),
    ".zip": write_zip,
}


def content(path: Path) -> str:
    return content_of(path, launcher.sha256_of(path))


@pytest.fixture(params=PACKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_same_content_packed_later_or_by_another_has_the_same_sum(tmp_path: Path, kind: str) -> None:
    first, later = tmp_path / f"a{kind}", tmp_path / f"b{kind}"
    PACKERS[kind](first, MEMBERS)
    PACKERS[kind](later, dict(reversed(list(MEMBERS.items()))), mtime=7, uid=1000)
    assert launcher.sha256_of(first) != launcher.sha256_of(later)
    assert content(first) == content(later)
    assert content(first) != launcher.sha256_of(first)


CHANGES: dict[str, Members] = {
    "content": {**MEMBERS, "video.mp4": (b"Frames" * 100, 0o644)},
    "name": {"Video.mp4": MEMBERS["video.mp4"], "sub/tool.sh": MEMBERS["sub/tool.sh"]},
    "exec bit": {**MEMBERS, "video.mp4": (b"frames" * 100, 0o744)},
    "one more": {**MEMBERS, "empty": (b"", 0o644)},
    "one less": {"video.mp4": MEMBERS["video.mp4"]},
    "swapped": {"video.mp4": MEMBERS["sub/tool.sh"], "sub/tool.sh": MEMBERS["video.mp4"]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_content_has_another_sum(tmp_path: Path, kind: str, change: str) -> None:
    PACKERS[kind](tmp_path / f"a{kind}", MEMBERS)
    PACKERS[kind](tmp_path / f"b{kind}", CHANGES[change])
    assert content(tmp_path / f"a{kind}") != content(tmp_path / f"b{kind}")


def test_rights_but_for_the_exec_bit_and_dots_before_names_change_nothing(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", MEMBERS)
    write_tar(tmp_path / "b.tar", {name: (data, mode & 0o711) for name, (data, mode) in MEMBERS.items()}, prefix="./")
    assert content(tmp_path / "a.tar") == content(tmp_path / "b.tar")


def test_the_compression_does_not_count(tmp_path: Path) -> None:
    for suffix in (".tar", ".tar.gz", ".tar.bz2", ".tar.xz"):
        PACKERS[suffix](tmp_path / f"a{suffix}", MEMBERS)
    assert len({content(path) for path in tmp_path.iterdir()}) == 1


def test_where_a_link_leads_counts(tmp_path: Path) -> None:
    sums = []
    for target in ("x", "y"):
        with tarfile.open(tmp_path / f"{target}.tar", "w") as archive:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
            archive.addfile(tarfile.TarInfo("file"))
        sums.append(content(tmp_path / f"{target}.tar"))
    assert sums[0] != sums[1]


def test_an_archive_by_another_name_counts_by_its_content_too(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar.gz", MEMBERS, mode="w:gz")
    write_tar(tmp_path / "a", MEMBERS, mode="w:gz", mtime=9)
    assert content(tmp_path / "a") == content(tmp_path / "a.tar.gz")


# --- What is no archive, and should be ---


def test_an_archive_without_members_is_an_error(tmp_path: Path, kind: str) -> None:
    PACKERS[kind](tmp_path / f"a{kind}", {})
    with pytest.raises(StepError, match=r"without members|not a readable archive") as caught:
        content(tmp_path / f"a{kind}")
    assert caught.value.hint


def test_an_archive_of_nothing_but_folders_is_an_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("folder")
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    with pytest.raises(StepError, match="without members"):
        content(tmp_path / "a.tar")


def test_an_archive_that_is_cut_anywhere_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{kind}"
    PACKERS[kind](path, MEMBERS)
    data = path.read_bytes()
    # A plain tar is whole once its first block of zeros is there; the rest is padding.
    whole = 3 * 512 + 2 * 512 if kind == ".tar" else len(data)
    for size in {*range(0, whole, 17), *range(whole - 20, whole), *range(512, whole, 512)}:
        path.write_bytes(data[:size])
        with pytest.raises(StepError, match="not a readable archive"):
            content(path)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
def test_an_archive_with_a_wrong_byte_is_an_error_or_another_content(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    PACKERS[suffix](path, {"m": (hashlib.sha256(b"x").digest() * 50, 0o644)})
    right, data = content(path), path.read_bytes()
    for place in range(len(data) // 3, len(data) // 2):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with contextlib.suppress(StepError):
            assert content(path) != right


@pytest.mark.parametrize("name", ["a.tar.gz", "a.TGZ", "a.zip", "a.tar"])
def test_what_is_called_an_archive_must_be_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no archive at all")
    with pytest.raises(StepError, match="not a readable archive"):
        content(tmp_path / name)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"PK\x03\x04 but no zip",
        gzip.compress(b"one file, no tar"),
        bz2.compress(b"one file"),
        lzma.compress(b"one file"),
        b"\x1f\x8b",
        b"BZh9",
        b"x" * 257 + b"ustar" + b"x" * 300,
    ],
)
def test_any_other_file_counts_by_its_bytes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(data)
    assert content(tmp_path / "model.bin") == hashlib.sha256(data).hexdigest()


# --- Entries ---


def test_an_entry_and_what_makes_it_untrue(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"12345")
    entry = file_entry(path)
    assert (entry["name"], entry["size"], entry["sha256"]) == ("a.txt", 5, hashlib.sha256(b"12345").hexdigest())
    assert is_intact(path, entry)
    for untrue in ({"size": 6}, {"mtime_ns": entry["mtime_ns"] + 1}, {"inode": entry["inode"] + 1}):
        assert not is_intact(path, {**entry, **untrue})
    link = tmp_path / "link"
    link.symlink_to(path)
    assert not is_intact(link, entry)
    path.unlink()
    assert not is_intact(path, entry)
    assert not is_intact(path / "below", entry)
