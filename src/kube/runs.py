"""Records of what Kubeflow Pipelines knows of runs, and how to read them from its JSON; pure.

Source: v2beta1's run.proto, and recorded answers of 2.1.0 and 2.17.0: absent fields are normal, also `state`, and a
time that has not come is 1970-01-01 or 0001-01-01.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.errors import RunError

FINAL = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
"""States that a run stays in; a run that was terminated ends as FAILED."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """A server: its version, which is often unknown, and whether it tells users apart by namespaces."""

    version: str
    multi_user: bool


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment; namespace is "" on a server for a single user."""

    id: str
    name: str
    namespace: str


@dataclass(frozen=True, kw_only=True)
class TaskState:
    """A node of a run. state: None when it was omitted or nothing is known yet. Times: seconds since the epoch."""

    name: str
    state: str | None
    start: float | None
    end: float | None


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run as the server sees it. state: None is normal for a new one. error: one line, mostly empty."""

    id: str
    name: str
    state: str | None
    created: float | None
    finished: float | None
    error: str
    tasks: tuple[TaskState, ...]

    @property
    def is_final(self) -> bool:
        """Whether the run has ended; the tasks may still be as they were a moment before."""
        return self.state in FINAL

    def task(self, name: str) -> TaskState | None:
        """Return a task by its name in the pipeline; None while it has not started."""
        return next((task for task in self.tasks if task.name == name), None)


def read_run(document: Mapping[str, Any]) -> RunState:
    """Read a run; raises RunError for a document that is none."""
    if not document.get("run_id"):
        raise RunError("the server's answer is no run: it has no run_id", hint="is KFP_API_URL a Kubeflow Pipelines 2?")
    error = document.get("error") or {}
    details = document.get("run_details") or {}
    return RunState(
        id=str(document["run_id"]),
        name=str(document.get("display_name", "")),
        state=document.get("state") or None,
        created=read_time(document.get("created_at")),
        finished=read_time(document.get("finished_at")),
        error=next(iter(str(error.get("message", "")).splitlines()), ""),
        tasks=tuple(
            TaskState(
                name=str(task.get("display_name", "")),
                state=task.get("state") or None,
                start=read_time(task.get("start_time")),
                end=read_time(task.get("end_time")),
            )
            for task in details.get("task_details") or ()
        ),
    )


def read_experiment(document: Mapping[str, Any]) -> Experiment:
    """Read an experiment; raises RunError for a document that is none."""
    if not document.get("experiment_id"):
        raise RunError(
            "the server's answer is no experiment: it has no experiment_id",
            hint="is KFP_API_URL a Kubeflow Pipelines 2?",
        )
    return Experiment(
        id=str(document["experiment_id"]),
        name=str(document.get("display_name", "")),
        namespace=str(document.get("namespace", "")),
    )


def read_time(text: object) -> float | None:
    """Return the seconds since the epoch of a time in RFC 3339, or None for one that has not come."""
    if not isinstance(text, str):
        return None
    try:
        seconds = datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def name_filter(name: str) -> str:
    """Return the list filter for what has this display name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]})
