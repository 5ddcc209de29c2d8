"""The helper pod's server: what it answers, refuses and never does."""

import ast
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from src.errors import ConfigError
from src.kube.door import TOKEN
from src.kube.download import fetch_files
from src.kube.lines import RefusedError, call
from src.kube.upload import post, put_files
from src.pythons import find_python
from tests.integration.volume_server import GOOD, SERVER, LoopDoor, loop_helper, run_server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@pytest.fixture
def port(root: Path) -> Iterator[int]:
    with run_server(root) as (port, _):
        yield port


def ask(port: int, method: str, target: str, token: str = GOOD, **headers: str) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, target, headers={TOKEN: token, **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def sum_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_nothing_is_answered_without_the_token(port: int, root: Path) -> None:
    (root / "secret").write_text("s")
    posts = [("POST", target) for target in ("/take", "/give", "/piece?sha256=a&at=0", "/call/list")]
    for method, target in [("GET", "/file?path=secret"), *posts]:
        for token in ("", "wrong", GOOD + "x"):
            status, headers, body = ask(port, method, target, token)
            assert (status, json.loads(body)["text"]) == (401, "wrong token")
            assert headers["X-Autopipe"]


@pytest.mark.parametrize(
    ("span", "expected"),
    [("bytes=0-3", b"0123"), ("bytes=4-", b"456789"), ("bytes=8-100", b"89"), ("bytes=9-9", b"9")],
)
def test_a_range_is_answered_with_its_place(port: int, root: Path, span: str, expected: bytes) -> None:
    (root / "f").write_bytes(b"0123456789")
    status, headers, body = ask(port, "GET", "/file?path=f", Range=span)
    first = int(span[6])
    assert (status, body) == (206, expected)
    assert headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/10"


@pytest.mark.parametrize("span", ["bytes=10-", "bytes=x", "bytes=-5"])
def test_an_impossible_range_is_refused(port: int, root: Path, span: str) -> None:
    (root / "f").write_bytes(b"0123456789")
    assert ask(port, "GET", "/file?path=f", Range=span)[0] == 416


def test_a_file_that_changed_between_ranges_is_refused(port: int, root: Path) -> None:
    (root / "f").write_bytes(b"0123456789")
    tag = ask(port, "GET", "/file?path=f")[1]["ETag"]
    assert ask(port, "GET", "/file?path=f", **{"If-Match": tag})[0] == 200
    (root / "g").write_bytes(b"other text")
    (root / "g").replace(root / "f")
    assert ask(port, "GET", "/file?path=f", **{"If-Match": tag})[0] == 412


def test_an_empty_file_is_sent(port: int, root: Path) -> None:
    (root / "empty").touch()
    assert ask(port, "GET", "/file?path=empty")[::2] == (200, b"")


@pytest.mark.parametrize(
    "path", ["..", "../outside", "a/../../outside", "/etc/passwd", "", "a//b", "./f", "a%00b", "link", "folder", "pipe"]
)
def test_no_path_leads_out_of_the_volume(port: int, root: Path, path: str) -> None:
    (root.parent / "outside").write_text("o")
    (root / "link").symlink_to(root.parent / "outside")
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    status, _, body = ask(port, "GET", f"/file?path={path}")
    assert status == 409, body
    assert b"outside" not in body or path.encode() in body


def test_a_file_arrives_whole_or_not_at_all(port: int, root: Path) -> None:
    helper, data = loop_helper(port), os.urandom(3_000_000)
    sha256 = sum_of(data)
    with pytest.raises(RefusedError, match="a/b: the volume says: its sum is") as caught:
        put_files(helper, [("a/a", b"", sum_of(b"")), ("a/b", data, "0" * 64), ("a/c", data, sha256)])
    assert caught.value.path == "a/b"
    assert sorted(path.name for path in (root / "a").iterdir()) == ["a"]
    entries = put_files(helper, [("a/b", data, sha256), ("a/c", b"c", sum_of(b"c"))])
    assert (root / "a" / "c").read_bytes() == b"c"
    entry = entries["a/b"]
    status = (root / "a" / "b").stat()
    assert (root / "a" / "b").read_bytes() == data
    assert entry == {
        "path": "a/b", "size": 3_000_000, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino, "sha256": sha256,
    }  # fmt: skip
    assert status.st_mode & 0o777 == 0o666
    assert (root / "a").stat().st_mode & 0o777 == 0o777
    assert not list((root / ".autopipe" / "incoming").iterdir())


def test_an_upload_that_is_cut_leaves_nothing(port: int, root: Path) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    head = json.dumps({"path": "f", "size": 1_000_000, "sha256": "0" * 64}).encode() + b"\n"
    connection.putrequest("POST", "/take")
    connection.putheader(TOKEN, GOOD)
    connection.putheader("Content-Length", str(len(head) + 1_000_000))
    connection.endheaders(head + b"x" * 1000)
    incoming = root / ".autopipe" / "incoming"
    pause = threading.Event()
    while not (incoming.exists() and list(incoming.iterdir())):
        pause.wait(0.01)
    connection.close()
    while list(incoming.iterdir()):
        pause.wait(0.01)
    assert not (root / "f").exists()


def test_pieces_in_any_order_make_a_file(port: int, root: Path) -> None:
    door, data = LoopDoor(port), os.urandom(1000)
    sha256 = hashlib.sha256(data).hexdigest()
    for start, end in ((600, 1000), (0, 300), (0, 300)):
        post(door, f"/piece?sha256={sha256}&at={start}", data[start:end], "f")
    with pytest.raises(RefusedError, match="incomplete: 300 of 1000"):
        list(call(door, "commit", {"sha256": sha256, "size": 1000, "path": "x/f"}))
    post(door, f"/piece?sha256={sha256}&at=300", data[300:600], "f")
    have = [(one["start"], one["end"]) for one in call(door, "pieces", {"sha256": sha256})]
    assert have == [(0, 300), (0, 300), (300, 600), (600, 1000)]
    for _ in range(2):  # the answer to the first may be lost
        (entry,) = call(door, "commit", {"sha256": sha256, "size": 1000, "path": "x/f"})
        assert (entry["sha256"], (root / "x" / "f").read_bytes()) == (sha256, data)
    assert not list((root / ".autopipe" / "incoming").iterdir())


def test_pieces_with_a_wrong_sum_are_thrown_away(port: int, root: Path) -> None:
    door = LoopDoor(port)
    post(door, f"/piece?sha256={'a' * 64}&at=0", b"wrong", "f")
    with pytest.raises(RefusedError, match="its sum is"):
        list(call(door, "commit", {"sha256": "a" * 64, "size": 5, "path": "f"}))
    assert list((root / ".autopipe" / "incoming").iterdir()) == []
    assert list(call(door, "pieces", {"sha256": "a" * 64})) == []


def test_a_bundle_has_every_file_or_says_which_is_missing(port: int, root: Path) -> None:
    contents = {f"d/{number} ü\n.txt": os.urandom(number * 1000) for number in range(20)}
    (root / "d").mkdir()
    for path, content in contents.items():
        (root / path).write_bytes(content)
    assert fetch_files(LoopDoor(port), list(contents)) == contents
    with pytest.raises(RefusedError, match="d/none: the volume says: No such file"):
        fetch_files(LoopDoor(port), [*contents, "d/none"])


def test_a_full_disk_is_told_as_such(port: int, root: Path) -> None:
    (root / ".autopipe").mkdir()
    (root / ".autopipe" / "incoming").symlink_to("/dev/full")
    with pytest.raises(RefusedError) as caught:
        put_files(loop_helper(port), [("f", b"x", sum_of(b"x"))])
    assert caught.value.number


def test_only_grown_parts_of_journals_and_logs_are_given(port: int, root: Path) -> None:
    for folder in ("steps", "logs"):
        (root / ".autopipe" / folder).mkdir(parents=True)
    log, journal = root / ".autopipe/logs/a.log", root / ".autopipe/steps/a.jsonl"
    binary = bytes(range(256)) * 10
    log.write_bytes(binary)
    journal.write_text('{"event":"start"}\n')

    def grown(offsets: dict[str, int], limit: int = 1 << 20) -> dict[str, tuple[int, bytes]]:
        lines = call(LoopDoor(port), "grown", {"offsets": offsets, "limit": limit})
        return {one["path"]: (one["at"], one["data"].encode("utf-8", "surrogateescape")) for one in lines}

    assert grown({}) == {
        ".autopipe/steps/a.jsonl": (0, b'{"event":"start"}\n'),
        ".autopipe/logs/a.log": (0, binary),
    }
    offsets = {".autopipe/steps/a.jsonl": 18, ".autopipe/logs/a.log": 2000}
    assert grown(offsets) == {".autopipe/logs/a.log": (2000, binary[2000:])}
    assert grown({**offsets, ".autopipe/logs/a.log": 2560}) == {}
    assert grown({**offsets, ".autopipe/logs/a.log": 9999}) == {".autopipe/logs/a.log": (0, binary)}
    assert grown({}, limit=20) == {
        ".autopipe/steps/a.jsonl": (0, b'{"event":"start"}\n'),
        ".autopipe/logs/a.log": (0, binary[:2]),
    }


def test_a_long_call_shows_that_it_is_alive(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SERVER.parent))
    import serve  # type: ignore[import-not-found]

    monkeypatch.setattr(serve, "ALIVE", -1.0)
    (root / "f").write_bytes(bytes(3 << 20))
    server = serve.Server(serve.Volume(root, root), hashlib.sha256(GOOD.encode()).hexdigest(), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        body = b'{"paths": ["f"]}'
        reply = LoopDoor(server.server_port).send("POST", "/call/sums", body=body)
        lines = reply.read_all().split(b"\n")
        reply.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert lines[:3] == [b"", b"", b""]  # one a mebibyte
    assert json.loads(lines[3])["sha256"] == hashlib.sha256(bytes(3 << 20)).hexdigest()
    assert json.loads(lines[4]) == {"done": True}


def test_it_ends_when_nobody_asks_any_more(root: Path) -> None:
    with run_server(root, idle=0.5) as (port, process):
        list(call(LoopDoor(port), "hello", {}))
        assert process.wait(timeout=20) == 0


def test_it_ends_at_once_when_it_is_told_to(root: Path) -> None:
    with run_server(root) as (_, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0


def test_the_tunnel_carries_requests_over_its_stdin_and_stdout(port: int, root: Path) -> None:
    data = os.urandom(3 << 20)
    (root / "f").write_bytes(data)
    request = f"GET /file?path=f HTTP/1.1\r\nHost: x\r\n{TOKEN}: {GOOD}\r\nConnection: close\r\n\r\n".encode()
    done = subprocess.run(
        ["python3", "serve.py", "tunnel"],
        cwd=SERVER.parent,
        env={**os.environ, "AUTOPIPE_PORT": str(port)},
        input=request,
        capture_output=True,
        timeout=20,
        check=True,
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == data


def test_an_old_python_serves_too(root: Path) -> None:
    try:
        python = find_python("3.8", "serve")
    except ConfigError:  # a machine that has none: what it would refuse is refused here in part
        for path in SERVER.parent.glob("*.py"):
            ast.parse(path.read_text(), feature_version=(3, 8))
        python = Path(sys.executable)
    data = os.urandom(2_000_000)
    with run_server(root, python=str(python)) as (port, _):
        put_files(loop_helper(port), [("f", data, sum_of(data))])
        assert fetch_files(LoopDoor(port), ["f"]) == {"f": data}
        assert list(call(LoopDoor(port), "hello", {}))
        with pytest.raises(RefusedError):
            fetch_files(LoopDoor(port), ["none"])


@pytest.mark.parametrize("target", ["/file", "/piece?sha256=x&at=0", "/piece?at=0", "/give", "/call/none", "/other"])
def test_nonsense_is_refused_and_breaks_nothing(port: int, target: str) -> None:
    for method in ("GET", "POST"):
        assert 400 <= ask(port, method, target)[0] < 500
    assert ask(port, "PUT", target)[0] == 501
    with pytest.raises(RefusedError, match="not understood: KeyError"):
        list(call(LoopDoor(port), "sums", {}))
