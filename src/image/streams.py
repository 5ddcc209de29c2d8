"""Answers of the engine that go on for long, so that another thread can end them."""

import contextlib
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door
    from requests import Response  # noqa: TID251  # what docker-py works with


class Streams:
    """The answers that a client is reading. Ended, they stop at once, and so do those that begin later."""

    def __init__(self, client: "APIClient") -> None:
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[Response] = weakref.WeakSet()
        self._ended = False
        client.hooks["response"].append(self._watch)

    @property
    def ended(self) -> bool:
        """Whether whoever works on a stream should give up."""
        return self._ended

    def end(self) -> None:
        """Stop all reading; the engine then gives up what nobody listens to."""
        with self._lock:
            self._ended = True
            answers = list(self._open)
        for answer in answers:
            _stop(answer)

    def _watch(self, answer: "Response", **_: object) -> None:
        with self._lock:
            self._open.add(answer)
            ended = self._ended
        if ended:
            _stop(answer)


def _stop(answer: "Response") -> None:
    # One that has been read to its end has no socket any more.
    with contextlib.suppress(ValueError, RuntimeError, OSError):
        answer.raw.shutdown()
