"""The two ways to the server in the helper pod: the API server's proxy, and a command run in the pod.

Both carry the same HTTP requests; see src/save-media/serve.py for what there is to ask.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from src.errors import RunError
from src.kube.cluster import Cluster
from src.kube.cut import CutError, unreachable
from src.kube.pod import PORT
from src.kube.refusal import PASSING, explain_refusal, read_status

TOKEN, OURS = "X-Autopipe-Token", "X-Autopipe"
SILENCE = 45.0
"""Seconds without a byte after which a connection counts as dead; the server shows every 5 s that it is alive."""

NO_HEADERS: Mapping[str, str] = {}


class NotAllowedError(RunError):
    """The user has no right to this way into the pod."""


class PodLostError(CutError):
    """There is no such pod any more, or nothing listens in it."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer of the server; the names of its headers are in lower case.

    read gives up to so many bytes, none at its end, and may raise CutError; close is called on every path.
    """

    status: int
    headers: Mapping[str, str]
    read: Callable[[int], bytes]
    close: Callable[[], None]

    def read_all(self) -> bytes:
        """Return all that is left."""
        return b"".join(iter(lambda: self.read(1 << 20), b""))


class Door(Protocol):
    """A way to the server."""

    name: str

    def send(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes | Iterable[Any] | None = None,
        silence: float = SILENCE,
    ) -> Reply:
        """Send a request and return the server's answer; silence: seconds to wait for bytes.

        Raises CutError when none came (another try may get one), NotAllowedError, ApiError.
        """

    def close(self) -> None:
        """Close its connections."""


class ProxyDoor:
    """Through `pods/proxy` of the API server, with the connections that it is asked by anyway."""

    name = "proxy"

    def __init__(self, cluster: Cluster, pod: str, token: str) -> None:
        self._cluster = cluster
        self._prefix = f"{cluster.path('pods', f'{pod}:{PORT}')}/proxy"
        self._headers = {TOKEN: token, "Content-Type": "application/octet-stream"}

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
        import urllib3

        answer = self._cluster.api_server.send(
            method, self._prefix + target, headers={**self._headers, **headers}, body=body, read=silence
        )

        def read(size: int) -> bytes:
            try:
                return bytes(answer.read(size, decode_content=False))
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise unreachable(error, self._cluster.api_server.host) from error

        def close() -> None:
            answer.close()
            answer.release_conn()

        if OURS not in answer.headers:
            self._refused(answer, read, close)
        return Reply(status=int(answer.status), headers=lower_names(answer.headers), read=read, close=close)

    def _refused(self, answer: Any, read: Callable[[int], bytes], close: Callable[[], None]) -> None:
        """Raise what an answer of the API server itself means, or of a gateway on the way."""
        text = read(1 << 16).decode("utf-8", "replace")
        close()
        error = explain_refusal(int(answer.status), text, "reach the helper pod", self._cluster.namespace)
        if error.code == 403:
            raise NotAllowedError(error.message, hint=error.hint)
        if error.code == 404 or (error.code in PASSING and "connection refused" in text):
            raise PodLostError(error.message, hint=error.hint)
        if error.code in PASSING or not read_status(text):
            raise CutError(error.message, hint=error.hint)
        raise error

    def close(self) -> None:
        """Close nothing: the connections are the cluster's."""


def lower_names(headers: Any) -> dict[str, str]:
    """Return headers with their names in lower case."""
    return {str(name).lower(): str(value) for name, value in headers.items()}
