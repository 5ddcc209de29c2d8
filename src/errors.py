"""The errors a run can end with, each class with its exit status."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AutopipeError(Exception):
    """Something that the user can act on; the boundary in cli.py prints it.

    message: what failed, on what; one line.
    hint: what to do next.
    details: lines that belong below the message (all problems of a file, a log's tail).
    """

    status = 1

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class ConfigError(AutopipeError):
    """Arguments, DAG file or settings; nothing was started."""

    status = 2


class FetchError(AutopipeError):
    """Media or components that could not be brought here."""

    status = 3


class ImageError(AutopipeError):
    """What a component runs in could not be made: engine, login, build, push, environment."""

    status = 4


class RunError(AutopipeError):
    """A step, the cluster or a timeout."""

    status = 5


class OutputError(AutopipeError):
    """The run went well, but its outputs are not on this disk."""

    status = 6


class BusyError(AutopipeError):
    """This DAG is running already into this output folder (EX_TEMPFAIL)."""

    status = 75


class Interrupted(AutopipeError):  # noqa: N818  # nothing went wrong
    """Ctrl-C or a signal; status is 128 + the signal's number."""

    def __init__(self, signal_number: int) -> None:
        name = "Ctrl-C" if signal_number == 2 else f"signal {signal_number}"
        super().__init__(f"interrupted by {name}", hint="the same command goes on from here")
        self.status = 128 + signal_number


class Detached(AutopipeError):  # noqa: N818  # as asked for
    """The run goes on on the cluster, nobody waits for it (`--detach`)."""

    status = 0


@contextmanager
def before_work(folder: Path) -> Iterator[None]:
    """Raise what the disk refuses, before any step has started, as ConfigError."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"cannot write to {folder}: {error.strerror}" + (f": {error.filename}" if error.filename else ""),
            hint="free some space or correct its rights, or give another folder: --output DIR",
        ) from error
