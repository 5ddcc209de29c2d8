"""Files between this machine and a volume: over a way that breaks, after a kill, with what is wrong on either end."""

import hashlib
import os
import random
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.errors import ConfigError, OutputError
from src.kube import streams
from src.kube.arriving import Wanted
from src.kube.cut import CutError
from src.kube.download import download
from src.kube.lines import RefusedError
from src.kube.streams import BUNDLE_BYTES, PIECE, STREAMS, pieces_of
from src.kube.upload import Sending, upload
from tests.integration.volume_server import LoopHelper, loop_helper, run_server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@pytest.fixture
def port(root: Path) -> Iterator[int]:
    with run_server(root) as (port, _):
        yield port


class Trouble:
    """Cuts a share of what goes over a door, and notes the requests."""

    def __init__(self, share: float = 0.0) -> None:
        self._random = random.Random(1)
        self._share = share
        self._lock = threading.Lock()
        self.requests: list[str] = []

    def __call__(self, what: str) -> None:
        with self._lock:
            if what != "read":
                self.requests.append(what)
            if self._random.random() < self._share:
                raise ConnectionResetError("cut by the test")


def sum_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lay(root: Path, contents: dict[str, bytes], home: Path) -> list[Wanted]:
    """Write files to the volume; return the wish for them."""
    for path, data in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return [
        Wanted(path=path, target=home / path, size=len(data), sha256=sum_of(data)) for path, data in contents.items()
    ]


def test_all_comes_whole_over_a_way_that_breaks(root: Path, port: int, tmp_path: Path) -> None:
    contents = {f"s/{number}": os.urandom(number * 997) for number in range(300)}
    contents |= {"l/even": os.urandom(3 * PIECE), "l/odd": os.urandom(2 * PIECE + 1), "l/one": os.urandom(BUNDLE_BYTES)}
    contents["s/empty"] = b""
    trouble = Trouble(0.1)
    helper = loop_helper(port, trouble)
    seen: list[int] = []
    download(helper, lay(root, contents, tmp_path / "home"), tmp_path / "scratch", seen.append)
    assert {path: (tmp_path / "home" / path).read_bytes() for path in contents} == contents
    assert sum(seen) == sum(len(data) for data in contents.values())
    assert isinstance(helper, LoopHelper)
    assert helper.broken > 5
    assert not list((tmp_path / "scratch").iterdir())


def test_a_download_that_was_killed_goes_on(root: Path, port: int, tmp_path: Path) -> None:
    data = os.urandom((STREAMS + 3) * PIECE + 5)
    (wanted,) = lay(root, {"big": data}, tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    # As a kill leaves it: two pieces are whole, and of those after them some are and some are not.
    left = data[: 2 * PIECE] + bytes(PIECE) + data[3 * PIECE : (STREAMS + 2) * PIECE]
    (scratch / wanted.sha256).write_bytes(left)
    trouble = Trouble()
    download(loop_helper(port, trouble), [wanted], scratch)
    assert wanted.target.read_bytes() == data
    assert len(trouble.requests) == len(list(pieces_of(len(data)))) - 2


@pytest.mark.parametrize("length", [PIECE * (STREAMS + 2), PIECE * 20])
def test_what_lies_in_the_way_of_a_download_does_no_harm(root: Path, port: int, tmp_path: Path, length: int) -> None:
    data = os.urandom(PIECE * (STREAMS + 1) + 7)
    (wanted,) = lay(root, {"big": data}, tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with (scratch / wanted.sha256).open("wb") as file:
        file.truncate(length)
    download(loop_helper(port), [wanted], scratch)
    assert wanted.target.read_bytes() == data


@pytest.mark.parametrize("size", [100, PIECE * 2])
def test_a_file_with_another_sum_is_no_output(root: Path, port: int, tmp_path: Path, size: int) -> None:
    wanted = lay(root, {"good": b"good", "bad": bytes(size)}, tmp_path / "home")
    wanted[1] = Wanted(path="bad", target=wanted[1].target, size=size, sha256=sum_of(b"other"))
    with pytest.raises(OutputError, match="bad did not come whole") as caught:
        download(loop_helper(port), wanted, tmp_path / "scratch")
    assert caught.value.hint
    assert os.listdir(tmp_path / "home") == ["good"]
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("size", [100, PIECE * 2])
def test_a_file_that_is_gone_ends_the_download(root: Path, port: int, tmp_path: Path, size: int) -> None:
    wanted = Wanted(path="gone", target=tmp_path / "gone", size=size, sha256="0" * 64)
    with pytest.raises(RefusedError, match="gone: the volume says: No such file"):
        download(loop_helper(port), [wanted], tmp_path / "scratch")


def test_a_full_disk_here_is_told_as_such(
    root: Path, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = lay(root, {"big": os.urandom(5 * PIECE)}, tmp_path / "home")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("src.kube.arriving._write", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        download(loop_helper(port), wanted, tmp_path / "scratch")
    assert "free some space" in caught.value.hint
    assert caught.value.status == 6


def test_a_way_that_stays_broken_is_given_up(root: Path, port: int, tmp_path: Path) -> None:
    wanted = lay(root, {"big": os.urandom(5 * PIECE)}, tmp_path / "home")
    with pytest.raises(CutError):
        download(loop_helper(port, Trouble(1.0)), wanted, tmp_path / "scratch")


def test_all_goes_whole_over_a_way_that_breaks(root: Path, port: int, tmp_path: Path) -> None:
    contents = {f"s/{number}": os.urandom(number * 997) for number in range(100)}
    contents |= {"l/even": os.urandom(3 * PIECE), "l/odd": os.urandom(2 * PIECE + 1)}
    files = []
    for number, (path, data) in enumerate(contents.items()):
        (tmp_path / str(number)).write_bytes(data)
        files.append(Sending(path=path, source=tmp_path / str(number), size=len(data), sha256=sum_of(data)))
    seen: list[int] = []
    entries = upload(loop_helper(port, Trouble(0.1)), files, seen.append)
    assert {path: (root / path).read_bytes() for path in contents} == contents
    assert sum(seen) == sum(len(data) for data in contents.values())
    for path, data in contents.items():
        status = (root / path).stat()
        assert entries[path] == {
            "path": path,
            "size": len(data),
            "mtime_ns": status.st_mtime_ns,
            "inode": status.st_ino,
            "sha256": sum_of(data),
        }
    assert not list((root / ".autopipe/incoming").iterdir())


def test_an_upload_that_was_killed_goes_on(root: Path, port: int, tmp_path: Path) -> None:
    data = os.urandom(4 * PIECE + 5)
    (tmp_path / "source").write_bytes(data)
    sending = Sending(path="big", source=tmp_path / "source", size=len(data), sha256=sum_of(data))
    first, second = Trouble(), Trouble()

    def kill(what: str) -> None:
        first(what)
        if "at=" in what and len([one for one in first.requests if "at=" in one]) > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(loop_helper(port, kill), [sending])
    upload(loop_helper(port, second), [sending])
    assert (root / "big").read_bytes() == data
    assert len([one for one in second.requests if "at=" in one]) == 3


@pytest.mark.parametrize("size", [100, 2 * PIECE])
def test_a_source_that_changes_meanwhile_is_told(root: Path, port: int, tmp_path: Path, size: int) -> None:
    (tmp_path / "source").write_bytes(bytes(size))
    sending = Sending(path="f", source=tmp_path / "source", size=size, sha256=sum_of(b"what it was"))
    with pytest.raises(ConfigError, match="was changed while it was taken"):
        upload(loop_helper(port), [sending])
    assert not (root / "f").exists()


def test_the_first_failure_ends_all_streams() -> None:
    begun: list[int] = []
    gate = threading.Barrier(STREAMS, timeout=10)

    def work(part: int) -> None:
        begun.append(part)
        gate.wait()
        raise CutError(f"part {part}")

    with pytest.raises(CutError):
        streams.Streams(work).run(iter(range(1000)))
    assert len(begun) == STREAMS


def test_the_most_in_memory_is_a_piece_a_stream(root: Path, port: int, tmp_path: Path) -> None:
    size = 10 * PIECE
    with (root / "big").open("wb") as file:
        file.truncate(size)
    wanted = Wanted(path="big", target=tmp_path / "big", size=size, sha256=sum_of(bytes(size)))
    tracemalloc.start()
    try:
        download(loop_helper(port), [wanted], tmp_path / "scratch")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (STREAMS + 2) * PIECE
