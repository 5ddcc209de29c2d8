"""The end of a run, on every target: its steps went well, its outputs are here, its record is written."""

from typing import Any

from src import step as launcher
from src.errors import AutopipeError, Detached, OutputError, RunError
from src.progress import count
from src.record import Run, close_folder, write_record
from src.signals import signals_held


def check_steps(run: Run, steps: list[dict[str, Any]]) -> None:
    """Raise RunError unless every step is done or skipped."""
    failed = [step for step in steps if step["state"] == "failed"]
    if not failed:
        return
    first = failed[0]
    where = next((one["name"] for one in first["invocations"] if one["state"] == "failed"), "")
    others = [f"{step['step']}: {step['message']}" for step in failed[1:]]
    idle = [step["step"] for step in steps if step["state"] == "not run"]
    details = [
        *first.get("tail", ()),
        *([f"also failed: {other}" for other in others[:20]]),
        *([f"and {count(len(others) - 20, 'more step')}"] if len(others) > 20 else []),
        *([f"not run, since they need it: {', '.join(idle[:20])}"] if idle else []),
        f"log: {run.folder / 'logs' / (first['step'] + '.log')}",
    ]
    raise RunError(
        f"step {first['step']}{f' on {where}' if where and where != first['step'] else ''}: {first['message']}",
        details=tuple(details),
        hint=first.get("hint") or "correct the component; the same command goes on from here",
    )


def verify_outputs(run: Run, document: dict[str, Any]) -> None:
    """Raise RunError or OutputError unless every step's outputs are in the run's folder, as its journal has them."""
    for step in document["steps"]:
        try:
            entries = launcher.step_outputs(run.folder, document, step)
        except launcher.StepError as error:
            raise RunError(f"step {step}: {error.message}", hint=error.hint) from error
        for entry in entries:
            if not launcher.is_intact(run.folder / step / entry["name"], entry):
                raise OutputError(
                    f"the output {step}/{entry['name']} was changed or removed during the run",
                    hint="give the same command again: what is missing is made anew",
                )


def close_run(run: Run, state: str, steps: list[dict[str, Any]]) -> None:
    """Write the run's last record and tidy its folder, which a signal does not leave half done; raises OutputError."""
    try:
        with signals_held():
            write_record(run, state, steps)
            close_folder(run.folder)
    except OSError as error:
        raise OutputError(
            f"the run's folder {run.folder} cannot be completed: {error.strerror}"
            + (f": {error.filename}" if error.filename else ""),
            hint="free some space, then give the same command again: nothing that was done is run again",
        ) from error


def state_after(error: AutopipeError) -> str:
    """Return the state of a run that an error ended."""
    if isinstance(error, Detached):
        return "detached"
    return "interrupted" if error.status > 128 else "failed"
