"""Keeps two pushes from sending the same layer: the second waits, and then finds it in the registry."""

import contextlib
import threading
from collections.abc import Iterable, Iterator


class Lanes:
    """The layers that are on their way, and those that have arrived, by their IDs."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._moving: set[str] = set()
        self._arrived: set[str] = set()
        self._closed = False

    @contextlib.contextmanager
    def use(self, layers: Iterable[str]) -> Iterator[None]:
        """Wait until nobody sends one of these layers, then have them for the block; they have arrived at its end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._moving & (set(layers) - self._arrived))
            mine = set(layers) - self._arrived - self._moving
            self._moving |= mine
        try:
            yield
            with self._changed:
                self._arrived |= mine
        finally:
            with self._changed:
                self._moving -= mine
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
