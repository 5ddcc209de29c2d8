"""How a git command ended, and the error that tells a user of it; pure."""

import re
from dataclasses import dataclass

from src.errors import FetchError
from src.repository.causes import Cause, describe, find_cause
from src.repository.url import Repository

TAIL = 8
"""Lines of git's own words below a message."""

_NOISE = "hint:|error: unable to read askpass response"  # nobody is asked, by our own wish


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a git command ended; errors is its stderr, without credentials."""

    command: str  # "fetch", "ls-remote", "lfs pull"
    status: int
    output: bytes
    errors: str


class GitError(FetchError):
    """A git command that failed, with its cause."""

    def __init__(self, message: str, *, cause: Cause, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint, details=details)
        self.cause = cause


def explain(outcome: Outcome, repository: Repository) -> GitError:
    """Make the error for a command that failed."""
    cause = find_cause(outcome.errors, lfs=outcome.command.startswith("lfs"))
    message, hint = describe(cause, repository.url, outcome.command)
    return GitError(message, cause=cause, hint=hint, details=last_lines(outcome.errors))


def last_lines(errors: str) -> tuple[str, ...]:
    """Return the last lines that git printed, without its progress and its advice."""
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in errors.split("\n")]
    return tuple(line for line in lines if line and not re.match(_NOISE, line))[-TAIL:]
