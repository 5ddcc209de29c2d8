"""What is asked of the engine about containers, its failures told apart; a door to docker."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from src.step import Cancel, Tail

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # a door

log = logging.getLogger("autopipe")

T = TypeVar("T")

RETURN = 30.0
"""Seconds in which an engine that is restarted comes back."""

LOOK = 0.5  # seconds between looks at whether it is back
ATTEMPTS = 3
TAIL_LINES = 50


class RefusedError(Exception):
    """The engine answered, and it was no; the text is its own."""


class SilentError(Exception):
    """The engine did not answer, nor did it come back."""


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    from docker.errors import APIError, DockerException  # noqa: TID251  # a door
    from requests import RequestException  # noqa: TID251  # docker-py lets these through
    from urllib3.exceptions import HTTPError  # and these

    try:
        yield
    except APIError as error:
        raise RefusedError(str(error.explanation or error).strip()) from error
    except (DockerException, RequestException, HTTPError) as error:
        raise SilentError(str(error)) from error


class Calls:
    """The engine's calls for containers; threads may share it. Containers go by the names that we gave them."""

    def __init__(self, client: "APIClient", cancel: Cancel) -> None:
        self._client = client
        self._cancel = cancel

    def create(self, name: str, request: Mapping[str, Any]) -> list[str]:
        """Make a container; return the engine's warnings. Raises RefusedError and SilentError."""

        def create() -> list[str]:
            try:
                with _told_apart():
                    made = self._client.create_container_from_config(dict(request), name)
            except RefusedError as error:
                if "already in use" in str(error):  # by an attempt whose answer was lost: the name is ours alone
                    return []
                raise
            return list(made.get("Warnings") or ())

        return self._patiently(create)

    def start(self, name: str) -> None:
        """Start a container. Raises RefusedError and SilentError."""
        self._patiently(lambda: self._client.start(name))

    def wait(self, name: str) -> None:
        """Return when a container has ended or is gone, however long that takes. Raises SilentError."""
        from docker.errors import NotFound  # noqa: TID251  # a door

        def wait() -> None:
            with contextlib.suppress(NotFound):
                self._client.wait(name, timeout=None)

        with contextlib.suppress(RefusedError):  # whoever looks at its state will hear the reason
            self._patiently(wait)

    def state(self, name: str) -> dict[str, Any] | None:
        """Return a container's State, None when the engine has none of that name. Raises RefusedError, SilentError."""
        from docker.errors import NotFound  # noqa: TID251  # a door

        def state() -> dict[str, Any] | None:
            try:
                return dict(self._client.inspect_container(name)["State"])
            except NotFound:
                return None

        return self._patiently(state)

    def tail(self, name: str) -> list[str]:
        """Return what a container printed last; nothing where the engine cannot say."""
        tail = Tail()
        with contextlib.suppress(RefusedError, SilentError), _told_apart():
            tail.add(self._client.logs(name, tail=TAIL_LINES))
        return tail.lines()

    def signal(self, name: str, signal: str) -> bool:
        """Send a container a signal; say whether that worked."""
        with contextlib.suppress(RefusedError, SilentError), _told_apart():
            self._client.kill(name, signal)
            return True
        return False

    def remove(self, name: str) -> bool:
        """Remove a container, whatever it does, with its anonymous volumes; say whether it is gone or going."""
        from docker.errors import NotFound  # noqa: TID251  # a door

        try:
            with _told_apart(), contextlib.suppress(NotFound):
                self._client.remove_container(name, v=True, force=True)
        except (RefusedError, SilentError) as error:
            return "is already in progress" in str(error)
        return True

    def list(self, *labels: str) -> list[dict[str, Any]]:
        """Return the containers that have all of these labels, as `name` or `name=value`, whatever their state.

        Raises RefusedError and SilentError.
        """
        return self._patiently(lambda: list(self._client.containers(all=True, filters={"label": list(labels)})))

    def _patiently(self, call: Callable[[], T]) -> T:
        for left in reversed(range(ATTEMPTS)):
            try:
                with _told_apart():
                    return call()
            except SilentError as error:
                log.debug("the engine: %s", error)
                if not left or not self._returns():
                    raise
        raise AssertionError("unreachable")

    def _returns(self) -> bool:
        """Wait until an engine that was restarted answers again; not for long when the run is told to stop."""
        until = time.monotonic() + RETURN
        while time.monotonic() < until:
            with contextlib.suppress(RefusedError, SilentError), _told_apart():
                self._client.ping()
                return True
            if self._cancel.wait(LOOK):
                return False
        return False
