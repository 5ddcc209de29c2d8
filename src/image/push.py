"""Pushes one image, again where the registry was down in the middle; the engine tells its end in a stream."""

import logging
import re
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.engine import RefusalError, explain_answer, refusals
from src.errors import ImageError
from src.image.login import Login
from src.image.reference import Reference
from src.image.refusals import denied, wrong_password

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door

log = logging.getLogger("autopipe")
WAITS = (2.0, 5.0, 10.0)
"""Seconds before another attempt; the engine itself has tried each layer five times by then."""

EVERY = 10.0
"""Seconds between lines about a push that goes on."""

_NO_RIGHT = re.compile(r"denied|insufficient_scope|forbidden|\b403\b", re.IGNORECASE)
_NO_LOGIN = re.compile(r"no basic auth credentials|unauthorized|authentication required|\b401\b", re.IGNORECASE)
_PASSING = re.compile(
    r"connection re(fused|set)|\bEOF\b|timeout|timed out|broken pipe|closed network|toomanyrequests|no such host"
    r"|temporary failure|unreachable|status:? 5\d\d|\b5\d\d (internal|bad|service|gateway)|server misbehaving"
    r"|blob upload (unknown|invalid)",
    re.IGNORECASE,
)


def push_image(
    component: str, reference: Reference, client: "APIClient", login: Login | None, stop: threading.Event
) -> str:
    """Push an image that the engine has under its reference; return its digest in the registry.

    stop: ends the wait for another attempt. Raises ImageError when the registry refuses, or does not come back.
    """
    where = f"{reference.registry}/{reference.path}"
    for wait in (*WAITS, None):
        error = ""
        progress = _Progress(component)
        try:
            with refusals():
                events = client.push(
                    reference.name,
                    tag=reference.tag,
                    stream=True,
                    decode=True,
                    auth_config=login.auth_config if login else {},
                )
                for event in events:
                    progress.take(event)
                    error = error or str(event.get("error", ""))
        except RefusalError as refusal:
            error = refusal.text
        if progress.digest and not error:
            return progress.digest
        if not _PASSING.search(error) and error:
            raise _explain(error, where, login)
        if wait is None or stop.is_set():
            break
        log.info("%s: push interrupted (%s), again in %.0f s", component, error or "the engine stopped", wait)
        stop.wait(wait)
    raise ImageError(
        f"component {component}: its image cannot be pushed to {where}",
        details=(error or "the engine ended without a word",),
        hint="see whether the registry is up; the same command goes on from here: what is built is not built again",
    )


def _explain(error: str, where: str, login: Login | None) -> ImageError:
    if "no space left on device" in error:
        return explain_answer(error)
    host = where.partition("/")[0]
    if _NO_RIGHT.search(error):
        refusal = denied(where, login)
    elif _NO_LOGIN.search(error):
        refusal = denied(where, login) if login is None else wrong_password(host, login)
    elif "server gave HTTP response to HTTPS client" in error:
        return ImageError(
            f"registry {host} speaks no TLS, which the engine insists on",
            details=(error,),
            hint=f'add "insecure-registries": ["{host}"] to the engine\'s daemon.json, and restart it',
        )
    else:
        return ImageError(f"pushing to {where} failed: {error}", hint="see REGISTRY and REGISTRY_NAMESPACE")
    return ImageError(refusal.message, details=(error,), hint=refusal.hint)


class _Progress:
    """How far a push is, told now and then."""

    def __init__(self, component: str) -> None:
        self.digest = ""
        self._component = component
        self._told = time.monotonic()
        self._layers: dict[str, tuple[int, int]] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        """Take an event of the stream."""
        aux = event.get("aux") or {}
        self.digest = aux.get("Digest", self.digest)
        detail = event.get("progressDetail") or {}
        if detail.get("total"):
            self._layers[str(event.get("id"))] = min(detail["current"], detail["total"]), detail["total"]
        if self._layers and time.monotonic() - self._told >= EVERY:
            self._told = time.monotonic()
            sent, total = (sum(numbers) / 1e6 for numbers in zip(*self._layers.values(), strict=True))
            log.info("%s: pushing, %.0f of %.0f MB", self._component, sent, total)
