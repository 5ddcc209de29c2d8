"""The way into the helper pod for users without a right to `pods/proxy`: a command in the pod leads to the server.

`kubectl exec` does the same: the API server makes a WebSocket (subprotocol v4.channel.k8s.io) a process's streams;
the first byte of each message is the stream's number. Over stdin and stdout of `serve.py tunnel` goes plain HTTP.
"""

import contextlib
import http.client
import io
import json
import queue
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from src.kube.cluster import Cluster
from src.kube.cut import CutError
from src.kube.door import NO_HEADERS, OURS, SILENCE, TOKEN, NotAllowedError, PodLostError, Reply, lower_names
from src.kube.pod import CONTAINER
from src.kube.refusal import explain_refusal

STDIN, STDOUT, STDERR, END = range(4)
PROTOCOL = "v4.channel.k8s.io"
COMMAND = ("python3", "serve.py", "tunnel")
FRAME = 1 << 17  # bytes of one message that we send
IDLE_CONNECTIONS = 8


class ExecDoor:
    """Through `pods/exec`: each connection is a process in the pod, kept for the next request."""

    name = "exec"

    def __init__(self, cluster: Cluster, pod: str, token: str) -> None:
        self._cluster = cluster
        self._pod = pod
        self._headers = {TOKEN: token, "Content-Type": "application/octet-stream"}
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue(IDLE_CONNECTIONS)

    def send(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes | Iterable[Any] | None = None,
        silence: float = SILENCE,
    ) -> Reply:
        """Send a request; see Door."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect()
        connection.sock.settimeout(silence)
        try:
            connection.request(method, target, body=body, headers={**self._headers, **headers})
            answer = connection.getresponse()
        except (http.client.HTTPException, OSError, CutError) as error:
            connection.close()
            raise _cut(error) from error
        except BaseException:
            connection.close()
            raise

        def read(size: int) -> bytes:
            try:
                data = answer.read(size)
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                raise _cut(error) from error
            if not data and size and (answer.length or 0) > 0:
                raise CutError("the helper pod's answer was cut short", hint="give the same command again")
            return data

        def close() -> None:
            # Read to its end, and not closed by an error meanwhile: the next request may follow.
            if answer.isclosed() and not answer.will_close and connection.sock is not None:
                with contextlib.suppress(queue.Full):
                    self._idle.put_nowait(connection)
                    return
            connection.close()

        if answer.headers.get(OURS) is None:
            close()
            raise CutError("something else than our server answers in the helper pod")
        return Reply(status=answer.status, headers=lower_names(answer.headers), read=read, close=close)

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost")
        connection.auto_open = 0
        connection.sock = ExecSocket(open_exec(self._cluster, self._pod, COMMAND))
        return connection

    def close(self) -> None:
        """Close its connections."""
        while not self._idle.empty():
            self._idle.get_nowait().close()


class ExecSocket:
    """What http.client needs of a socket, over the streams of a process in a pod."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket
        self._errors = b""

    def sendall(self, data: Any) -> None:
        """Write to the process's stdin; raises OSError."""
        import websocket

        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view), FRAME):
                self._websocket.send_binary(bytes((STDIN,)) + view[start : start + FRAME])
        except websocket.WebSocketException as error:
            raise ConnectionResetError(str(error)) from error

    def receive(self) -> bytes:
        """Return the next bytes of its stdout, none when it has ended; raises OSError."""
        import websocket

        while True:
            try:
                opcode, frame = self._websocket.recv_data_frame(True)
            except websocket.WebSocketException as error:
                raise ConnectionResetError(str(error)) from error
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return b""
            if opcode != websocket.ABNF.OPCODE_BINARY or len(frame.data) < 2:
                continue
            channel, data = frame.data[0], frame.data[1:]
            if channel == STDOUT:
                return bytes(data)
            if channel == STDERR:
                self._errors = (self._errors + data)[-2000:]
            elif channel == END:
                self._ended(data)
                return b""

    def _ended(self, data: bytes) -> None:
        status = json.loads(data)
        if status.get("status") != "Success":
            said = self._errors.decode("utf-8", "replace").strip().split("\n")[-1]
            raise ConnectionRefusedError(said or str(status.get("message")))

    def makefile(self, mode: str, buffering: int = -1) -> io.BufferedReader:
        """Return its stdout as a file."""
        del mode, buffering
        return io.BufferedReader(_Reader(self), 1 << 16)

    def settimeout(self, seconds: float | None) -> None:
        """Bound how long to wait for the next bytes."""
        self._websocket.settimeout(seconds)

    def close(self) -> None:
        """End the process by closing its streams."""
        with contextlib.suppress(OSError):
            self._websocket.shutdown()


class _Reader(io.RawIOBase):
    def __init__(self, source: ExecSocket) -> None:
        self._source = source
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._source.receive())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def open_exec(cluster: Cluster, pod: str, command: Iterable[str]) -> Any:
    """Start a command in a helper pod; return the WebSocket of its streams.

    Raises NotAllowedError, PodLostError, CutError, ApiError.
    """
    import websocket
    from kubernetes.stream import ws_client  # noqa: TID251  # this is the door

    configuration = cluster.configuration
    words = [("command", word) for word in command]
    query = [("container", CONTAINER), ("stdin", "true"), ("stdout", "true"), ("stderr", "true"), *words]
    scheme, place, path, _, _ = urlsplit(cluster.host + cluster.path("pods", f"{pod}/exec"))
    url = urlunsplit(("wss" if scheme == "https" else "ws", place, path, urlencode(query), ""))
    headers = [f"{name}: {value}" for name, value in cluster.credentials().items()]
    options: dict[str, Any] = {"header": headers, "subprotocols": [PROTOCOL], "timeout": SILENCE}
    if configuration.proxy or configuration.proxy_headers:
        options = ws_client.websocket_proxycare(options, configuration, url, {})
    link: Any = websocket.WebSocket(sslopt=_tls(configuration), skip_utf8_validation=True)
    try:
        link.connect(url, **options)
    except websocket.WebSocketBadStatusException as error:
        text = (error.resp_body or b"").decode("utf-8", "replace")
        refusal = explain_refusal(error.status_code, text, "run a command in the helper pod", cluster.namespace)
        if refusal.code == 403:
            raise NotAllowedError(refusal.message, hint=refusal.hint) from error
        if refusal.code in (404, 500):  # 500: the pod has ended, its container is not there
            raise PodLostError(refusal.message, hint=refusal.hint) from error
        raise CutError(refusal.message, hint=refusal.hint) from error
    except (websocket.WebSocketException, OSError) as error:
        raise _cut(error) from error
    return link


def _tls(configuration: Any) -> dict[str, Any]:
    import ssl

    if not configuration.verify_ssl:
        options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    else:
        options = {"cert_reqs": ssl.CERT_REQUIRED}
        if configuration.ssl_ca_cert:
            options["ca_certs"] = configuration.ssl_ca_cert
        if configuration.assert_hostname is False:
            options["check_hostname"] = False
    if configuration.cert_file:
        options["certfile"] = configuration.cert_file
    if configuration.key_file:
        options["keyfile"] = configuration.key_file
    if configuration.tls_server_name:
        options["server_hostname"] = configuration.tls_server_name
    return options


def _cut(error: Exception) -> CutError:
    if isinstance(error, CutError):
        return error
    if isinstance(error, ConnectionRefusedError):
        return PodLostError(f"nothing listens in the helper pod: {error}", hint="give the same command again")
    return CutError(f"the connection into the helper pod was lost: {error}", hint="give the same command again")
