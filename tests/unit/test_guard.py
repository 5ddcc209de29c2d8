"""The guard of the unit tests: what it refuses, and that a swallowed refusal still fails its test."""

import contextlib
import socket
import subprocess
import threading
from typing import Any

import pytest

from tests.conftest import guard


@pytest.fixture
def refusals() -> list[str]:
    """What the guard refuses in this test, taken back at the end."""
    return guard.refused


def test_connections_are_refused(refusals: list[str]) -> None:
    addresses: list[tuple[int, Any]] = [(socket.AF_INET, ("127.0.0.1", 9)), (socket.AF_UNIX, "/var/run/docker.sock")]
    for family, address in addresses:
        with socket.socket(family) as door, pytest.raises(pytest.fail.Exception, match="must not reach outside"):
            door.connect(address)
    with pytest.raises(pytest.fail.Exception):
        socket.getaddrinfo("localhost", 80)
    assert len(refusals) == 3
    refusals.clear()


@pytest.mark.parametrize("program", ["docker", "/usr/bin/podman", "kubectl"])
def test_engines_are_refused(refusals: list[str], program: str) -> None:
    with pytest.raises(pytest.fail.Exception):
        subprocess.run([program, "ps"], check=False)
    assert refusals == [f"start of {program.rpartition('/')[2]}"]
    refusals.clear()


def test_a_refusal_in_a_thread_is_kept(refusals: list[str]) -> None:
    def connect() -> None:
        with contextlib.suppress(BaseException), socket.socket() as door:
            door.connect(("127.0.0.1", 9))

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    assert len(refusals) == 1
    refusals.clear()


def test_local_work_goes_on(refusals: list[str]) -> None:
    assert subprocess.run(["true"], check=False).returncode == 0
    left, right = socket.socketpair()
    with left, right:
        left.send(b"x")
        assert right.recv(1) == b"x"
    assert refusals == []
