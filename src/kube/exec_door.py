"""The way into the helper pod for users without a right to `pods/proxy`: a command in the pod leads to the server.

Over stdin and stdout of `serve.py tunnel` goes plain HTTP.
"""

import contextlib
import http.client
import queue
from collections.abc import Iterable, Mapping
from typing import Any

from src.kube.cluster import Cluster
from src.kube.cut import CutError
from src.kube.door import NO_HEADERS, OURS, SILENCE, TOKEN, Reply, lower_names
from src.kube.exec_socket import ExecSocket, explain_loss, open_exec

COMMAND = ("python3", "serve.py", "tunnel")
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
            raise explain_loss(error) from error
        except BaseException:
            connection.close()
            raise

        def read(size: int) -> bytes:
            try:
                data = answer.read(size)
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                raise explain_loss(error) from error
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
