"""The helper pod's server run on this machine, and a way to it that breaks when it is told to."""

import contextlib
import hashlib
import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from src.kube.cut import CutError
from src.kube.door import NO_HEADERS, SILENCE, TOKEN, Door, Reply, lower_names
from src.kube.helper import Helper
from src.kube.lines import call

ROOT = Path(__file__).resolve().parent.parent.parent
SERVER = ROOT / "src" / "save-media" / "serve.py"
GOOD = "a-token"
T = TypeVar("T")


@contextlib.contextmanager
def run_server(
    root: Path, *, python: str = sys.executable, idle: float = 60, media: Path = Path("/nonexistent")
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Serve root on a port of this machine; give the port and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        "PATH": os.environ["PATH"],
        "AUTOPIPE_VOLUME": str(root),
        "AUTOPIPE_TOKEN_SHA256": hashlib.sha256(GOOD.encode()).hexdigest(),
        "AUTOPIPE_PORT": str(port),
        "AUTOPIPE_IDLE": str(idle),
        "AUTOPIPE_MEDIA": str(media),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    process = subprocess.Popen([python, SERVER.name], cwd=SERVER.parent, env=environ, stderr=subprocess.PIPE)
    try:
        _await_port(port, process)
        yield port, process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        said = process.stderr.read().decode()
        process.stderr.close()
    assert not said, said


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    pause, deadline = threading.Event(), time.monotonic() + 20
    while True:
        assert process.poll() is None, "the server ended at once"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            pause.wait(0.02)


def _paths(body: Any) -> list[str]:
    """Return the paths of the files in a body of small files."""
    return [path.decode() for path in re.findall(rb'^\{"path": "([^"]+)", "size"', body, re.MULTILINE)]


class LoopDoor:
    """A way to the server of this machine. trouble: called before each request, and with each part of an answer."""

    name = "loop"

    def __init__(self, port: int, token: str = GOOD, trouble: Callable[[str], None] = lambda _: None) -> None:
        self._port = port
        self._token = token
        self._trouble = trouble

    def send(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes | Iterable[Any] | None = None,
        silence: float = SILENCE,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=silence)
        try:
            self._trouble(f"{method} {target} {' '.join(_paths(body)) if target == '/take' else ''}".rstrip())
            connection.request(method, target, body=body, headers={TOKEN: self._token, **headers})
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise CutError(f"cut: {error}") from error

        def read(size: int) -> bytes:
            try:
                self._trouble("read")
                data = answer.read(size)
            except (OSError, http.client.HTTPException) as error:
                raise CutError(f"cut: {error}") from error
            if not data and size and (answer.length or 0) > 0:
                raise CutError("cut short")
            return data

        return Reply(status=answer.status, headers=lower_names(answer.headers), read=read, close=connection.close)

    def close(self) -> None:
        pass


class LoopHelper:
    """What functions ask of a Helper, over a LoopDoor; tries again without a pause."""

    def __init__(self, door: Door, tries: int = 50) -> None:
        self.door = door
        self._tries = tries
        self.broken = 0

    def call(self, name: str, /, **arguments: Any) -> list[dict[str, Any]]:
        return self.repeat(lambda door: list(call(door, name, arguments)))

    def repeat(self, action: Callable[[Door], T]) -> T:
        for _ in range(self._tries):
            try:
                return action(self.door)
            except CutError:
                self.broken += 1
        return action(self.door)


def loop_helper(port: int, trouble: Callable[[str], None] = lambda _: None) -> Helper:
    """Return a helper for the functions under test."""
    return cast(Helper, LoopHelper(LoopDoor(port, trouble=trouble)))
