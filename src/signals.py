"""The signals that ask a program to end: what they do, and when."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from src.errors import Interrupted

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def on_ending_signals(act: Callable[[int], None]) -> Iterator[None]:
    """Call act with the number of each signal that asks to end, while the block runs.

    One that is ignored, as nohup and a shell's `&` have it, stays ignored.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        act(number)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_interrupted(number: int) -> None:
    """End the program through every open context."""
    raise Interrupted(number)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let what asks to end wait until the block is done, then raise Interrupted."""
    received: list[int] = []
    with on_ending_signals(received.append):
        yield
    if received:
        raise Interrupted(received[0])
