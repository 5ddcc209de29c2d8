"""How a task's container ended, as the end record of the task; pure.

The launcher's journal has the last word. Where it is silent, what the engine knows must do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from src.step import Record

_AGAIN = "the same command goes on from here"
_STARTS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("could not select device driver",),
        "the engine has no GPU for it",
        "install the NVIDIA Container Toolkit, or leave out its option `gpu`",
    ),
    (
        ("exec format error",),
        "its image is for another kind of processor",
        "set IMAGE_PLATFORM to this machine's, or leave it out, and build again: --rebuild",
    ),
    (
        ('"python3": executable file not found', "python3: no such file", "stat python3"),
        "its image has no python3",
        "the launcher needs one, 3.8 or newer: install it in the component's Dockerfile",
    ),
    (
        ("init was OOM-killed", "memory limit too low"),
        "its `memory` is not enough to start anything",
        "raise its option `memory`",
    ),
    (
        ("no space left on device",),
        "the engine's disk is full",
        "free some space: docker system df shows what uses it; then give the same command again",
    ),
    (
        ("No such image",),
        "its image was removed during the run",
        "give the same command again: it is built anew",
    ),
)


def end_of_refusal(text: str) -> Record:
    """Return the end of a task whose container the engine would not make or start; text: the engine's words."""
    for signs, message, hint in _STARTS:
        if any(sign.lower() in text.lower() for sign in signs):
            return _failed(message, hint, tail=[text])
    return _failed(f"the engine would not start its container: {text}", "see the engine's log; then try again")


def end_of_journal(records: Sequence[Record], *, cancelled: bool) -> Record | None:
    """Return the launcher's own end record, where it came to write one."""
    end = next((record for record in records if record["event"] == "end"), None)
    if end and end.get("message") == "interrupted" and not cancelled:
        return _failed("its container was stopped from outside", _AGAIN)
    return end


def end_of_state(state: Mapping[str, Any] | None, tail: Sequence[str], memory: int | None) -> Record:
    """Return the end of a task whose launcher left without a word.

    state: the container's as the engine has it, None when it has no such container. tail: its last lines.
    memory: its limit, in bytes.
    """
    if state is None or state.get("Status") == "removing":
        return _failed("its container was removed from outside", _AGAIN)
    status = int(state.get("ExitCode") or 0)
    if state.get("OOMKilled"):
        limit = f" ({memory / (1 << 20):g} MiB)" if memory else ""
        return _failed(f"its container ran out of memory{limit}", "raise its option `memory`", status, tail)
    if any("No module named 'step'" in line for line in tail):
        return _failed(
            "its container sees another folder in the place of the run's",
            "give a folder that the engine shares with this machine, such as one in your home: --output DIR",
            status,
        )
    if any("Read-only file system" in line or "Permission denied" in line for line in tail):
        return _failed(
            "its container cannot write to the run's folder",
            "give a folder that containers may write to, such as one in your home: --output DIR",
            status,
            tail,
        )
    if status == 137:
        hint = "somebody killed it, or the machine is out of memory: then set its option `memory`"
        return _failed("its container was killed by SIGKILL", hint, status, tail)
    if state.get("Error"):
        return end_of_refusal(str(state["Error"]))
    for line in tail:
        if "exec format error" in line:
            return end_of_refusal(line)
    return _failed(
        f"its container exited with status {status} before the launcher said how it went",
        "the lines above are what it printed last; the same command tries again",
        status,
        tail,
    )


def interrupted() -> Record:
    """Return the end of a task that was not begun, or not ended, for the run was told to stop."""
    return _failed("interrupted", _AGAIN)


def engine_lost(reason: str) -> Record:
    """Return the end of a task whose engine went away."""
    return _failed(reason, "start the engine, then give the same command again: what was done is not run again")


def _failed(message: str, hint: str, status: int | None = None, tail: Sequence[str] = ()) -> Record:
    return {"event": "end", "state": "failed", "message": message, "hint": hint, "exit": status, "tail": list(tail)}
