"""Pushes and builds as the engine tells them: what is taken for an end, what is tried again, what is said of it."""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from src.errors import ImageError
from src.image import push as pushing
from src.image.blame import explain_failure
from src.image.login import Login
from src.image.recipe import Recipe
from src.image.reference import Reference

DIGEST = "sha256:" + "a" * 64
NAME = Reference(registry="reg.example", path="me/part", tag="k" * 64, digest=None)
LOGIN = Login(registry="reg.example", username="me", password="hunter2", source="REGISTER_USERNAME")
END: list[dict[str, Any]] = [{"status": "Pushed", "id": "1"}, {"aux": {"Tag": "k", "Digest": DIGEST, "Size": 1}}]


class FakeClient:
    """Answers pushes with events, one list a push."""

    def __init__(self, *answers: Iterable[dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def push(self, name: str, **given: Any) -> Iterable[dict[str, Any]]:
        self.asked.append({"name": name, **given})
        return self.answers.pop(0)


def push(client: FakeClient, login: Login | None = LOGIN) -> str:
    found: Any = client
    return pushing.push_image("part", NAME, found, login, threading.Event())


def error(text: str) -> list[dict[str, Any]]:
    return [{"status": "Preparing", "id": "1"}, {"errorDetail": {"message": text}, "error": text}]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "WAITS", (0.0, 0.0))


def test_the_digest_is_that_of_the_stream() -> None:
    client = FakeClient(END)
    assert push(client) == DIGEST
    assert client.asked[0]["name"] == "reg.example/me/part"
    assert client.asked[0]["tag"] == "k" * 64
    assert client.asked[0]["auth_config"] == LOGIN.auth_config


def test_without_a_login_nobody_elses_is_taken() -> None:
    client = FakeClient(END)
    push(client, None)
    assert client.asked[0]["auth_config"] == {}  # None would let docker-py look for one


@pytest.mark.parametrize(
    "text",
    [
        'Put "http://reg/v2/": dial tcp 127.0.0.1:5000: connect: connection refused',
        "write tcp: connection reset by peer",
        "unexpected EOF",
        "received unexpected HTTP status: 503 Service Unavailable",
        "net/http: TLS handshake timeout",
        "toomanyrequests: slow down",
    ],
)
def test_what_may_pass_is_tried_again(text: str) -> None:
    client = FakeClient(error(text), [], END)
    assert push(client) == DIGEST
    assert len(client.asked) == 3


def test_what_does_not_pass_is_told_at_the_end() -> None:
    client = FakeClient(*[error("connection refused")] * 3)
    with pytest.raises(ImageError, match=r"cannot be pushed to reg\.example/me/part") as caught:
        push(client)
    assert caught.value.details == ("connection refused",)
    assert "is not built again" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "login", "message", "hint"),
    [
        (
            "denied: requested access to the resource is denied",
            LOGIN,
            "me .* may not push to reg.example/me/part",
            "right",
        ),
        ("denied: requested access to the resource is denied", None, "needs a login", "REGISTER_USERNAME"),
        ("unauthorized: authentication required", LOGIN, "refuses the login of me", "REGISTER_PASSWORD"),
        ("no basic auth credentials", None, "needs a login", "docker login reg.example"),
        ("http: server gave HTTP response to HTTPS client", LOGIN, "speaks no TLS", "insecure-registries"),
        ("write /var/lib/x: no space left on device", LOGIN, "disk is full", "docker system"),
        ("name unknown: repository was not found", LOGIN, "name unknown", "REGISTRY_NAMESPACE"),
    ],
)
def test_refusals_are_told_at_once(text: str, login: Login | None, message: str, hint: str) -> None:
    client = FakeClient(error(text))
    with pytest.raises(ImageError, match=message) as caught:
        push(client, login)
    assert hint in caught.value.hint
    assert "hunter2" not in f"{caught.value.message} {caught.value.details} {caught.value.hint}"
    assert len(client.asked) == 1


def test_a_stream_that_ends_without_a_digest_is_no_success() -> None:
    with pytest.raises(ImageError, match="cannot be pushed"):
        push(FakeClient(*[[{"status": "Pushed", "id": "1"}]] * 3))


# --- Builds that failed ---


def recipe(**given: Any) -> Recipe:
    values: dict[str, Any] = {"own": False, "text": "", "bases": (), "packages": {}, "requirements": b"", "media": {}}
    return Recipe(component="part", folder=Path("/c/part"), **{**values, **given})


PIP = "Step 8/9 : RUN PIP_ROOT_USER_ACTION=ignore python3 -m pip install"
SYSTEM = "Step 4/9 : RUN set -eu; packages='jq'; zz_autopipe.pth"


@pytest.mark.parametrize(
    ("given", "step", "text", "tail", "message", "shown"),
    [
        ({"packages": {"jq": 7}}, SYSTEM, "code: 100", ["E: Unable to locate package jq"], "its system", ".sys:7: jq"),
        ({}, SYSTEM, "code: 1", ["neither apt-get nor apk"], "its image could not", "step 4/9: install jq"),
        ({}, PIP, "code: 1", ["ERROR: x"], "its requirements", "ERROR: x"),
        ({"own": True}, "Step 2/3 : RUN make", "code: 2", ["make: no"], "failed at step 2/3", "make: no"),
        ({}, "Step 1/1 : RUN x", "standard_init_linux.go: exec format error", [], "cannot run programs", "exec format"),
        ({"own": True}, "", "write /x: no space left on device", [], "disk is full", "no space"),
        ({}, "Step 1/9 : RUN pip", "code: 1", ["OSError: No space left on device"], "disk is full", "no space"),
    ],
)  # fmt: skip
def test_what_failed_is_named(
    given: dict[str, Any], step: str, text: str, tail: list[str], message: str, shown: str
) -> None:
    error = explain_failure(recipe(**given), step, text, tuple(tail))
    assert message in error.message
    assert shown in "\n".join(error.details)
    assert error.hint
