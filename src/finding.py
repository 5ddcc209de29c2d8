"""What `--check` has found."""

from dataclasses import dataclass

from src.errors import AutopipeError, RunError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An answer. fine: no run fails for it; with a hint it is a remark all the same.

    status: the exit status of a run that fails for it.
    """

    subject: str
    text: str
    fine: bool = True
    hint: str = ""
    status: int = RunError.status


def finding_of(subject: str, error: AutopipeError) -> Finding:
    """Return the finding for an error that a run would end with."""
    return Finding(subject=subject, text=error.message, fine=False, hint=error.hint, status=error.status)
