"""Answers of the engine that go on for long, so that another thread can end them."""

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door
    from requests import Response  # noqa: TID251  # what docker-py works with


class Streams:
    """The answers that a client is reading. Ended, they stop at once, and so do those that begin later."""

    def __init__(self, client: "APIClient") -> None:
        self._lock = threading.Lock()
        self._open: list[Response] = []
        self.ended = threading.Event()
        """Set when whoever works on a stream should give up."""
        client.hooks["response"].append(self._watch)

    def end(self) -> None:
        """Stop all reading; the engine then gives up what nobody listens to."""
        with self._lock:
            self.ended.set()
            answers = list(self._open)
        for answer in answers:
            _stop(answer)

    def close(self) -> None:
        """Close what was read: docker-py leaves that to chance."""
        with self._lock:
            answers, self._open = self._open, []
        for answer in answers:
            answer.close()

    def _watch(self, answer: "Response", **_: object) -> None:
        with self._lock:
            self._open.append(answer)
        if self.ended.is_set():
            _stop(answer)


def _stop(answer: "Response") -> None:
    # One that has been read to its end has no socket any more.
    with contextlib.suppress(ValueError, RuntimeError, OSError):
        answer.raw.shutdown()
