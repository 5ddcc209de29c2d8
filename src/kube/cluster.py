"""What is asked of the API server for things of our namespace: plain documents there and back, patiently."""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

from src.kube.api_server import ApiServer
from src.kube.cut import CutError, unreachable
from src.kube.patience import Stop, StoppedError
from src.kube.refusal import PASSING, ApiError, explain_refusal
from src.step import Record

log = logging.getLogger("autopipe")
T = TypeVar("T")

AT_FIRST, LATER = 5.0, 120.0
"""Seconds to try for, when a server has never answered (its address may be wrong), and when it has."""


class Cluster:
    """The API server, and the namespace that we work in.

    Bodies and answers are plain documents, as kubectl shows them in JSON: they are the same for every version of
    the kubernetes package, of which only configuration, credentials and connections are used.
    """

    def __init__(self, api_server: ApiServer, namespace: str, stop: Stop | None = None) -> None:
        self.api_server = api_server
        self.namespace = namespace
        self.stop: Stop = stop or threading.Event()
        self._known = False

    def path(self, kind: str, name: str = "") -> str:
        """Return the path of a kind of things of our namespace (pods, events, …), or of one of them."""
        return f"/api/v1/namespaces/{self.namespace}/{kind}{f'/{name}' if name else ''}"

    def ask(
        self, method: str, path: str, doing: str, *, query: Mapping[str, object] | None = None, body: Any = None
    ) -> Record:
        """Return the document that answers a request; doing says in messages what it is for.

        What may pass is tried again for some time: creating a thing whose name is taken after a lost answer is left
        to the caller. Raises ApiError, CutError, StoppedError.
        """
        headers = {"Accept": "application/json"}
        if body is not None:
            kind = "merge-patch+json" if method == "PATCH" else "json"
            headers["Content-Type"] = f"application/{kind}"
        where = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else json.dumps(body).encode()

        def attempt() -> Record:
            text = self._text(method, where, doing, headers=headers, body=data)
            try:
                document: Record = json.loads(text)
            except ValueError as error:
                raise explain_refusal(200, text, doing, self.namespace) from error
            return document

        return self.patiently(attempt)

    def log_of(self, pod: str, lines: int = 20, *, container: str | None = None) -> list[str]:
        """Return the last lines that a pod printed; none where that cannot be told."""
        query = urlencode({"tailLines": lines, **({"container": container} if container else {})})
        try:
            text = self._text("GET", f"{self.path('pods', pod)}/log?{query}", f"read the log of {pod}")
        except (ApiError, CutError):
            return []
        return [line for line in text.splitlines() if line.strip()]

    def _text(
        self, method: str, where: str, doing: str, *, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> str:
        import urllib3

        answer = self.api_server.send(method, where, headers=headers or {}, body=body)
        try:
            text: str = answer.data.decode("utf-8", "replace")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(error, self.api_server.host) from error
        if answer.status >= 300:
            raise explain_refusal(answer.status, text, doing, self.namespace)
        return text

    def patiently(self, attempt: Callable[[], T]) -> T:
        """Return what attempt returns, calling it again while its failures may pass."""
        start, delay = time.monotonic(), 0.3
        while True:
            try:
                result = attempt()
            except (CutError, ApiError) as error:
                if isinstance(error, ApiError) and error.code not in PASSING:
                    self._known = True
                    raise
                if time.monotonic() - start + delay > (LATER if self._known else AT_FIRST):
                    raise
                log.debug("%s: trying again", error.message)
                self.pause(delay)
                delay = min(delay * 2, 10.0)
            else:
                self._known = True
                return result

    def pause(self, seconds: float) -> None:
        """Wait; raises StoppedError as soon as the user wants to stop."""
        if self.stop.wait(seconds):
            raise StoppedError("stopped while waiting for the cluster")

    def create(self, kind: str, body: Record) -> Record:
        """Create a thing and return it. An answer that was lost is asked for again: our names are unique."""
        name = body["metadata"]["name"]
        doing = f"create the {_NOUNS.get(kind, kind)} {name}"
        try:
            return self.ask("POST", self.path(kind), doing, body=body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            found = self.get(kind, name)
            if found is None or found["metadata"].get("labels") != body["metadata"].get("labels"):
                raise
            return found

    def get(self, kind: str, name: str) -> Record | None:
        """Return a thing, or None where there is none of that name."""
        try:
            return self.ask("GET", self.path(kind, name), f"look at the {_NOUNS.get(kind, kind)} {name}")
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def find(self, kind: str, labels: str = "", fields: str = "") -> tuple[list[Record], str]:
        """Return the things that match the selectors, and the version of that list, to watch from."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        query = {name: value for name, value in query.items() if value}
        document = self.ask("GET", self.path(kind), f"list {kind}", query=query)
        return list(document.get("items") or ()), str(document["metadata"].get("resourceVersion", ""))

    def delete(self, kind: str, name: str, *, grace: int | None = None) -> None:
        """Ask for a thing to be deleted; it may be gone already. grace: seconds that a pod has to end."""
        body = {} if grace is None else {"gracePeriodSeconds": grace}
        try:
            self.ask("DELETE", self.path(kind, name), f"delete the {_NOUNS.get(kind, kind)} {name}", body=body)
        except ApiError as error:
            if error.code != 404:
                raise


_NOUNS = {"pods": "pod", "persistentvolumeclaims": "claim"}
