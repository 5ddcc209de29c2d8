"""The API server's client over answers of the test: what is asked again, what is told, what is watched."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3

from src.errors import ConfigError, RunError
from src.kube import cut, kubeconfig
from src.kube.api_server import ApiServer
from src.kube.cluster import Cluster
from src.kube.cut import CutError
from src.kube.doubts import Doubts
from src.kube.kubeconfig import open_cluster
from src.kube.patience import StoppedError
from src.kube.refusal import ApiError, explain_refusal
from src.kube.watch import watch
from src.settings import load_settings

Answer = tuple[int, Any] | Exception


class Stop:
    """Notes for how long was waited; says stop when told to."""

    def __init__(self, after: int = 10**9) -> None:
        self.waits: list[float] = []
        self._after = after

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return len(self.waits) > self._after


class Server:
    """Gives the answers in their order, whatever is asked, and notes what was."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self._answers: Iterator[Answer] = iter(answers)
        self.requests: list[tuple[str, str, Any]] = []

    def urlopen(self, method: str, url: str, *, body: bytes | None, **_: object) -> SimpleNamespace:
        self.requests.append((method, url.removeprefix("https://api"), json.loads(body) if body else None))
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        status, document = answer
        lines = document if isinstance(document, list) else [document]
        chunks = [(json.dumps(line) if isinstance(line, dict) else line).encode() + b"\n" for line in lines]
        return SimpleNamespace(
            status=status,
            data=b"".join(chunks),
            stream=lambda *_, **__: iter(chunks),
            close=lambda: None,
            release_conn=lambda: None,
        )


Make = Callable[..., tuple[Cluster, Server]]


def make(*answers: Answer, stop: Stop | None = None) -> tuple[Cluster, Server]:
    server = Server(answers)
    configuration = SimpleNamespace(
        host="https://api/",
        auth_settings=lambda: {"BearerToken": {"in": "header", "key": "authorization", "value": "Bearer t"}},
    )
    client = SimpleNamespace(configuration=configuration, rest_client=SimpleNamespace(pool_manager=server))
    return Cluster(ApiServer(client), "team-1", stop or Stop()), server


def status(code: int, message: str, reason: str = "") -> Answer:
    return code, {"kind": "Status", "message": message, "reason": reason, "code": code}


CUT = urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError())
BODY = {"metadata": {"name": "c", "labels": {"a": "b"}}}


def test_a_thing_is_asked_for_with_the_users_credentials() -> None:
    cluster, server = make((200, {"metadata": {"name": "p"}}))
    assert cluster.get("pods", "p") == {"metadata": {"name": "p"}}
    assert server.requests == [("GET", "/api/v1/namespaces/team-1/pods/p", None)]
    assert cluster.api_server.credentials() == {"authorization": "Bearer t"}


def test_what_is_not_there_is_none() -> None:
    assert make(status(404, 'pods "p" not found', "NotFound"))[0].get("pods", "p") is None


@pytest.mark.parametrize("trouble", [CUT, status(503, "busy"), status(429, "slow down"), (502, "<html>")])
def test_what_may_pass_is_asked_again(trouble: Answer) -> None:
    stop = Stop()
    cluster, _ = make((200, {}), trouble, trouble, (200, {"metadata": {}}), stop=stop)
    cluster.ask("GET", "/", "look")
    assert cluster.ask("GET", "/", "look") == {"metadata": {}}
    assert stop.waits == [0.3, 0.6]


@pytest.mark.parametrize("trouble", [CUT, status(503, "busy")])
def test_a_server_that_never_answered_is_given_up_soon(trouble: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("src.kube.cluster.time.monotonic", lambda: now.__setitem__(0, now[0] + 1) or now[0])
    cluster, server = make(*[trouble] * 500)
    with pytest.raises((CutError, ApiError)):
        cluster.ask("GET", "/", "look")
    assert len(server.requests) < 10
    cluster, server = make((200, {}), *[trouble] * 500)
    cluster.ask("GET", "/", "look")
    with pytest.raises((CutError, ApiError)):
        cluster.ask("GET", "/", "look")
    assert len(server.requests) > 50


def test_a_stop_ends_the_waiting() -> None:
    cluster, _ = make(CUT, CUT, stop=Stop(after=0))
    with pytest.raises(StoppedError):
        cluster.ask("GET", "/", "look")


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 422])
def test_a_refusal_is_told_at_once(code: int) -> None:
    cluster, server = make(status(code, "no"))
    with pytest.raises(ApiError, match="cannot look") as caught:
        cluster.ask("GET", "/", "look")
    assert caught.value.code == code
    assert caught.value.hint
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [(200, "<html>login</html>"), (302, "<a href=/login>")])
def test_a_page_of_a_gateway_is_no_answer(answer: Answer) -> None:
    with pytest.raises(ApiError, match="something that is no API server answered") as caught:
        make(answer)[0].ask("GET", "/", "look")
    assert "login" in caught.value.hint


def test_a_creation_whose_answer_was_lost_is_not_a_failure() -> None:
    taken = status(409, 'claims "c" already exists', "AlreadyExists")
    cluster, server = make(CUT, taken, (200, {**BODY, "spec": 1}))
    assert cluster.create("persistentvolumeclaims", BODY) == {**BODY, "spec": 1}
    assert [method for method, _, _ in server.requests] == ["POST", "POST", "GET"]


def test_a_name_that_somebody_else_has_is_a_failure() -> None:
    taken = status(409, 'claims "c" already exists', "AlreadyExists")
    cluster, _ = make(taken, (200, {"metadata": {"name": "c"}}))
    with pytest.raises(ApiError, match="already exists"):
        cluster.create("persistentvolumeclaims", BODY)


def test_what_is_gone_is_deleted() -> None:
    cluster, server = make(status(404, "not found"), (200, {}))
    cluster.delete("pods", "p")
    cluster.delete("pods", "p", grace=1)
    assert server.requests[1] == ("DELETE", "/api/v1/namespaces/team-1/pods/p", {"gracePeriodSeconds": 1})


def listed(*items: dict[str, Any], version: str = "5") -> Answer:
    return 200, {"items": list(items), "metadata": {"resourceVersion": version}}


def pod(version: str, phase: str = "Pending") -> dict[str, Any]:
    return {"metadata": {"name": "p", "resourceVersion": version}, "status": {"phase": phase}}


def test_a_thing_is_watched_without_polling() -> None:
    changes = [{"type": "MODIFIED", "object": pod("6")}, {"type": "MODIFIED", "object": pod("7", "Running")}]
    deleted = [{"type": "DELETED", "object": pod("8", "Running")}]
    cluster, server = make(listed(pod("5")), (200, changes), (200, []), (200, deleted))
    seen = list(islice(watch(cluster, "pods", "p", tick=3), 7))
    # At first; two changes and the end of that watch; a watch in which nothing happened; the deletion and its end.
    assert seen == [pod("5"), pod("6"), pod("7", "Running"), pod("7", "Running"), pod("7", "Running"), None, None]
    versions = [url.partition("resourceVersion=")[2].partition("&")[0] for _, url, _ in server.requests]
    assert versions == ["", "5", "7", "7"]
    assert all("timeoutSeconds=3" in url for _, url, _ in server.requests[1:])


@pytest.mark.parametrize("trouble", [(200, [{"type": "ERROR", "object": {"code": 410}}]), status(410, "gone")])
def test_a_watch_that_is_too_old_begins_with_the_list(trouble: Answer) -> None:
    cluster, server = make(listed(pod("5")), trouble, listed(pod("9", "Running"), version="9"))
    assert list(islice(watch(cluster, "pods", "p", tick=3), 2)) == [pod("5"), pod("9", "Running")]
    assert "watch=1" not in server.requests[2][1]


def test_a_watch_without_the_right_to_it_is_told() -> None:
    cluster, _ = make(listed(), status(403, 'cannot watch resource "pods"'))
    states = watch(cluster, "pods", "p", tick=3)
    assert next(states) is None
    with pytest.raises(ApiError, match="no right to watch pods"):
        next(states)


def test_a_stop_ends_a_watch() -> None:
    cluster, _ = make(listed(pod("5")), stop=Stop(after=0))
    states = watch(cluster, "pods", "p", tick=3)
    next(states)
    with pytest.raises(StoppedError):
        next(states)


REFUSALS = [
    (401, "Unauthorized", "the cluster does not know us", "log in"),
    (404, 'namespaces "n" not found', "there is no namespace n", "KUBE_NAMESPACE"),
    (
        403,
        "pods x is forbidden: exceeded quota: q, requested: cpu=8, used: cpu=1, limited: cpu=4",
        "the quota q of namespace n is used up (asked for cpu=8, used cpu=1, limit cpu=4)",
        "--clean",
    ),
    (403, "pods x is forbidden: failed quota: q: must specify limits.cpu for: serve", "must specify", "`cpu`"),
    (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest": a', 'Pod Security: "restricted', "another"),
    (403, "forbidden: unable to create new content because it is being terminated", "being deleted", "KUBE_NAMESPACE"),
    (403, "forbidden: maximum memory usage per Container is 1Gi, but limit is 4Gi", "memory usage per", "`memory`"),
    (
        403,
        'pods is forbidden: User "u" cannot create resource "pods/proxy" in API group "" in the namespace "n"',
        "no right to create pods/proxy in namespace n",
        "administrator",
    ),
    (403, "something new", "something new", "administrator"),
    (422, "PersistentVolumeClaim x is invalid: spec.y\nmore", "is invalid: spec.y", "setting"),
    (500, "etcdserver: leader changed", "not well (500)", "again"),
]


@pytest.mark.parametrize(("code", "text", "message", "hint"), REFUSALS)
def test_a_refusal_has_a_cause_and_a_way_out(code: int, text: str, message: str, hint: str) -> None:
    document = json.dumps({"kind": "Status", "message": text, "reason": "R", "code": code})
    error = explain_refusal(code, document, "do it", "n")
    assert error.message.startswith("cannot do it: ")
    assert message in error.message
    assert "\n" not in error.message
    assert hint in error.hint
    assert (error.code, error.reason) == (code, "R")


def test_events_that_may_not_be_read_are_done_without() -> None:
    waiting = {"metadata": {"name": "p", "uid": "u"}, "spec": {}, "status": {"phase": "Pending"}}
    cluster, server = make(status(403, "no"))
    doubts = Doubts(cluster)
    assert doubts.judge([waiting]) is None
    assert doubts.judge([waiting]) is None
    assert len(server.requests) == 1


def test_what_may_pass_is_given_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("src.kube.doubts.time.monotonic", lambda: now[0])
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    waiting = {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {},
        "status": {"phase": "Pending", "conditions": [condition]},
    }
    doubts = Doubts(make(*[listed()] * 10)[0])
    assert doubts.judge([waiting]) is None
    now[0] = 59
    assert doubts.judge([waiting]) is None
    now[0] = 60
    found = doubts.judge([waiting])
    assert found is not None
    assert found[0] is waiting
    another = {**waiting, "metadata": {"name": "q", "uid": "v"}}
    assert doubts.judge([another]) is None  # its own time begins now
    ended = {**waiting, "status": {"phase": "Failed"}}
    assert doubts.judge([ended]) is None


def settings_of(tmp_path: Path, **environ: str) -> Any:
    return load_settings(None, {"HOME": str(tmp_path), **environ})


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://192.0.2.1:6443', insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: one, context: {cluster: c, user: u, namespace: other}}, {name: two, context: {cluster: c, user: u}}]
current-context: one
"""


def test_a_kubeconfig_leads_to_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(KUBECONFIG)
    cluster = open_cluster(settings_of(tmp_path, KUBECONFIG=str(tmp_path / "config"), KUBE_NAMESPACE="mine"))
    assert (cluster.api_server.host, cluster.namespace) == ("https://192.0.2.1:6443", "mine")
    assert cluster.api_server.credentials() == {"authorization": "Bearer secret"}
    assert cluster.path("pods", "p") == "/api/v1/namespaces/mine/pods/p"


def test_a_context_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(KUBECONFIG)
    settings = settings_of(tmp_path, KUBECONFIG=str(tmp_path / "config"), KUBE_CONTEXT="three")
    with pytest.raises(ConfigError) as caught:
        open_cluster(settings)
    assert "three" in caught.value.message
    assert caught.value.hint == "set KUBE_CONTEXT to one of its contexts: one, two"


@pytest.mark.parametrize("content", ["", "no: [yaml", "a: b", None])
def test_a_kubeconfig_that_cannot_be_used_is_a_config_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config").write_text(content)
    with pytest.raises(ConfigError) as caught:
        open_cluster(settings_of(tmp_path, KUBECONFIG=str(tmp_path / "config")))
    assert str(tmp_path / "config") in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_without_any_configuration_there_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kubeconfig, "IN_CLUSTER", tmp_path / "none")
    with pytest.raises(ConfigError, match="there is no kubeconfig"):
        open_cluster(settings_of(tmp_path))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (urllib3.exceptions.NewConnectionError(None, "refused: [Errno 111] Connection refused"), "cannot be reached"),  # type: ignore[arg-type]
        (urllib3.exceptions.SSLError("certificate verify failed: self-signed CERTIFICATE"), "not to be trusted"),
        (urllib3.exceptions.ReadTimeoutError(None, "", "Read timed out."), "was lost"),  # type: ignore[arg-type]
        (ConnectionResetError("reset"), "was lost"),
    ],
)
def test_a_server_that_cannot_be_spoken_to_is_told(error: Exception, message: str) -> None:
    found = cut.unreachable(error, "https://api")
    assert message in found.message
    assert isinstance(found, RunError)
    assert found.hint
