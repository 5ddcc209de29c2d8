"""Keeps two workers from making or sending the same layer: the second waits, and then finds it done."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator


class Lanes:
    """The layers that are being worked on, and those that are done, by their IDs."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._moving: set[str] = set()
        self._done: set[str] = set()
        self._closed = False

    @contextlib.contextmanager
    def use(self, layers: Iterable[str]) -> Iterator[Callable[[], None]]:
        """Wait until nobody works on one of these layers, then have them for the block; they are done at its end.

        Gives a function that says earlier that they are.
        """
        wanted = set(layers)
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._moving & (wanted - self._done))
            mine = wanted - self._done - self._moving
            self._moving |= mine

        def finish(*, done: bool = True) -> None:
            with self._changed:
                self._done |= mine & self._moving if done else set()
                self._moving -= mine
                self._changed.notify_all()

        try:
            yield finish
            finish()
        finally:
            finish(done=False)

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
