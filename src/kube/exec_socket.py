"""A command in the helper pod, its stdin and stdout in the form of a socket.

`kubectl exec` does the same: the API server makes a WebSocket (subprotocol v4.channel.k8s.io) a process's streams;
the first byte of each message is the stream's number.
"""

import contextlib
import io
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from src.kube.cluster import Cluster
from src.kube.cut import CutError
from src.kube.door import SILENCE, NotAllowedError, PodLostError
from src.kube.pod import CONTAINER
from src.kube.refusal import explain_refusal

STDIN, STDOUT, STDERR, END = range(4)
PROTOCOL = "v4.channel.k8s.io"
FRAME = 1 << 17  # bytes of one message that we send


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

    configuration = cluster.api_server.configuration
    words = [("command", word) for word in command]
    query = [("container", CONTAINER), ("stdin", "true"), ("stdout", "true"), ("stderr", "true"), *words]
    scheme, place, path, _, _ = urlsplit(cluster.api_server.host + cluster.path("pods", f"{pod}/exec"))
    url = urlunsplit(("wss" if scheme == "https" else "ws", place, path, urlencode(query), ""))
    headers = [f"{name}: {value}" for name, value in cluster.api_server.credentials().items()]
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
        raise explain_loss(error) from error
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


def explain_loss(error: Exception) -> CutError:
    """Make the error for an exception on the way into the helper pod."""
    if isinstance(error, CutError):
        return error
    if isinstance(error, ConnectionRefusedError):
        return PodLostError(f"nothing listens in the helper pod: {error}", hint="give the same command again")
    return CutError(f"the connection into the helper pod was lost: {error}", hint="give the same command again")
