"""Why a task failed that its own journal says nothing of: its pod tells, or it never had one; pure.

Source: the pods of Kubeflow Pipelines 2.1.0 and 2.17.0; REST says only that a task failed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from src.kube.runs import RunState
from src.step import Record

NODE_NAME = "workflows.argoproj.io/node-name"
Pod = Mapping[str, Any]

_MEMORY = "raise its option `memory`, or run fewer at once with `cpu`"
_AGAIN = "the same command goes on from here"
_PYTHON = "see its last lines; its image must have python3 3.8 or newer, with which the step launcher runs"


def is_driver(pod: Pod) -> bool:
    """Say whether a pod is one that the server starts before a step's own."""
    return _node(pod).endswith("driver")


def pods_of_tasks(pods: Iterable[Pod], names: Mapping[str, str]) -> dict[str, Pod]:
    """Return the executor's pod of each task that has one; names: the pipeline's name of each task."""
    tasks = {name: task for task, name in names.items()}
    found: dict[str, Pod] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))):
        # `<workflow>.root.<task>.executor`, where servers of 2.17 write (0) after each part.
        parts = _node(pod).split(".")
        if len(parts) > 2 and parts[-1] == "executor" and parts[-2] in tasks:
            found[tasks[parts[-2]]] = pod
    return found


def _node(pod: Pod) -> str:
    """Return the name of a pod's node in the workflow."""
    return re.sub(r"\(\d+\)", "", str((pod["metadata"].get("annotations") or {}).get(NODE_NAME, "")))


def missing_ends(
    tasks: Iterable[str],
    names: Mapping[str, str],
    state: RunState,
    ended: Iterable[str],
    begun: Iterable[str],
    pods: Mapping[str, Pod],
) -> dict[str, Record]:
    """Return an end record for each task that failed without one of its own.

    ended, begun: tasks whose journal has an end, a start, in this run.
    """
    ended, begun = set(ended), set(begun)
    made = {}
    for task in tasks:
        seen = state.task(names[task])
        if task not in ended and (task in begun or (seen is not None and seen.state == "FAILED")):
            message, hint = explain_pod(pods.get(task), begun=task in begun)
            made[task] = {"event": "end", "state": "failed", "message": message, "hint": hint}
    return made


def explain_pod(pod: Pod | None, *, begun: bool) -> tuple[str, str]:
    """Return why a task's pod did not come to an end of its own, and what to do."""
    if pod is None:
        if begun:
            return "its pod was removed while it ran", _AGAIN
        return "the server could not start it", "the log of its driver pod, or the pipelines UI, may say why"
    status = pod.get("status") or {}
    main = _ended(status, "main")
    reason = str(main.get("reason") or "")
    code = main.get("exitCode")
    if reason == "OOMKilled" or code == 137:
        killed = "ran out of memory" if reason == "OOMKilled" else "was ended by SIGKILL, often for want of memory"
        return f"{killed} (its pod's limit ended the step launcher too)", _MEMORY
    if status.get("reason") == "Evicted":
        return f"its pod was evicted: {_line(status.get('message'))}", _AGAIN
    if status.get("reason") in ("DeadlineExceeded", "Preempting", "NodeLost", "Shutdown", "NodeShutdown", "Terminated"):
        return f"its pod was ended by the cluster: {status['reason']}", _AGAIN
    if code in (126, 127) or reason in ("StartError", "ContainerCannotRun"):
        return f"the step launcher could not start: {_line(main.get('message')) or f'exit status {code}'}", _PYTHON
    if code and begun:
        return f"the step launcher ended with status {code} in the middle", _AGAIN
    if code:
        return f"the step launcher ended with status {code} before the step began", _PYTHON
    if begun:
        return "its pod ended in the middle", _AGAIN
    return (
        f"its pod failed before the step began: {_line(status.get('message')) or status.get('phase', 'no reason')}",
        "",
    )


def _ended(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for one in status.get("containerStatuses") or ():
        if one.get("name") == name:
            state: Mapping[str, Any] = one.get("state") or {}
            last: Mapping[str, Any] = one.get("lastState") or {}
            return state.get("terminated") or last.get("terminated") or {}
    return {}


def _line(text: object) -> str:
    return next((line.strip() for line in str(text or "").splitlines() if line.strip()), "")[:300]


def printable(lines: Iterable[str]) -> list[str]:
    """Return lines with nothing in them that moves a terminal's cursor."""
    return ["".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in lines]


def explain_run(state: RunState, driver: Sequence[str]) -> str:
    """Return one line on why a run failed of which no task says why; driver: lines of the server's own pods."""
    said = state.error or next((line for line in reversed(driver) if "rror" in line), "")
    return f"the run ended as {state.state}" + (f": {said[:300]}" if said else ", and the server does not say why")
