"""Calls to the REST interface as one user; logs in when the server asks for it, and anew when a session ended."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from src.kube.answers import is_foreign, read_answer, words
from src.kube.login import NotLoggedInError, log_in
from src.kube.server import Server, Token
from src.kube.transport import READ, Answer, Transport
from src.kube.walk import LoginRefusedError

log = logging.getLogger("autopipe")
API = "/apis/v2beta1"


class Unsure(Exception):  # noqa: N818  # handled by whoever sends what must not be sent twice
    """There was a login to do first: the request has to be sent again, or was done all the same."""


class Session:
    """One user's calls to one server. Threads may share it: they share the login too."""

    def __init__(self, server: Server, transport: Transport) -> None:
        self._server = server
        self._transport = transport
        self._lock = threading.Lock()
        self._logins = 0
        self._sent_token = ""

    @property
    def server(self) -> Server:
        """The server."""
        return self._server

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        read: float = READ,
        once: bool = False,
    ) -> dict[str, Any]:
        """Send one request to a path below the API, log in and send it again where needed; return the document.

        once: raise Unsure in the place of sending it again. Raises UnreachableError, OutageError, RefusedError,
        LoginRefusedError, NotLoggedInError.
        """
        logins = self._logins
        answer = self._send(method, path, query, document, read)
        if is_foreign(answer):
            self._log_in(answer, logins)
            if once:
                raise Unsure
            answer = self._send(method, path, query, document, read)
            if is_foreign(answer):
                raise self._still_foreign(answer)
        return read_answer(answer, self._server.host)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        document: Mapping[str, Any] | None,
        read: float,
    ) -> Answer:
        headers = {"Accept": "application/json"}
        if isinstance(self._server.login, Token):
            self._sent_token = self._server.login.read()
            headers["Authorization"] = f"Bearer {self._sent_token}"
        url = self._server.url + API + path
        return self._transport.send(method, url, query=query, headers=headers, document=document, read=read)

    def _log_in(self, answer: Answer, logins: int) -> None:
        """Log in, unless another thread did since the request was sent; a token is only read again."""
        login = self._server.login
        with self._lock:
            if self._logins != logins:
                return
            if isinstance(login, Token):
                if login.read() == self._sent_token:
                    raise LoginRefusedError(
                        f"{self._server.host} does not accept {login.origin}: {answer.status} {words(answer)}",
                        hint="it may have expired, be for another server or audience, or the gateway takes no tokens: "
                        "then set DEX_USERNAME and DEX_PASSWORD",
                    )
            else:
                log_in(self._transport, self._server, login)
                log.log(
                    logging.DEBUG if self._logins else logging.INFO,
                    "logged in to %s as %s%s",
                    self._server.host,
                    login.name,
                    ", deployKF's first user, since no login is set" if login.default else "",
                )
            self._logins += 1

    def _still_foreign(self, answer: Answer) -> NotLoggedInError:
        return NotLoggedInError(
            f"{self._server.host} does not let us through to Kubeflow Pipelines: {answer.status} {words(answer)}",
            hint="KFP_API_URL is the address of the pipelines UI, often .../pipeline; does it work in a browser?",
        )
