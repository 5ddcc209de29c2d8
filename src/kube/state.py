"""What a DAG has on a cluster, written to this disk before it is made there: whoever comes next knows what is left.

One small file a DAG (its name and its file's real path), server and namespace, beside the DAG's runs.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.dag import Dag
from src.errors import ConfigError
from src.plan import Plan
from src.settings import Settings
from src.step import Record

FORMAT = 1

PREPARING = "preparing"
"""The claim is being filled; nothing has been sent to the server."""
SUBMITTING = "submitting"
"""The run has been sent, or is just about to be."""
RUNNING = "running"
"""The server has the run."""
KEPT = "kept"
"""The run is over and its results are here; the claim is kept for the next."""
LEAVING = "leaving"
"""All outputs are here; what is on the cluster is being deleted."""


@dataclass(frozen=True, kw_only=True)
class ClusterRun:
    """A claim and the run on it. name: the run's display name, unique. run: its mark in journals and labels."""

    claim: str
    run: str
    name: str
    plan: str  # plan_sum
    phase: str
    id: str | None = None  # the server's, once it has told
    helper: str = ""  # the helper pod at work
    began: float = 0.0  # when it was submitted, in seconds since the epoch


def state_path(folder: Path, dag: Dag, settings: Settings) -> Path:
    """Return where a DAG's record is, below the folder of its runs."""
    words = [os.fspath(dag.path), settings.kfp_api_url or "", settings.kube_namespace]
    return folder / f".cluster-{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]}.json"


def read_state(path: Path) -> ClusterRun | None:
    """Return the record, or None where there is none; raises ConfigError for one that this version cannot read."""
    try:
        document = json.loads(path.read_bytes())
        if document.pop("format") != FORMAT:
            raise ValueError("another format")
        return ClusterRun(**document)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"the record of what is on the cluster cannot be read: {path}: {error}",
            hint="remove the file; `--clean` then removes what it told of",
        ) from error


def write_state(path: Path, state: ClusterRun) -> ClusterRun:
    """Write the record, on the disk when this returns; raises OSError."""
    made = path.with_name(f"{path.name}.new")
    with made.open("w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **dataclasses.asdict(state)}, file)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
    _sync_folder(path.parent)
    return state


def forget_state(path: Path) -> None:
    """Remove the record: nothing is left on the cluster."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def plan_sum(plan: Plan, document: Record) -> str:
    """Return a sum that is equal for two plans that may share a run: all that steps do, and with what means."""
    known: dict[str, Any] = {
        "tasks": document["tasks"],
        "media": [[entry["name"], entry["sha256"]] for entry in document["media"]],
        "options": {step.name: dataclasses.asdict(step.options) for step in plan.steps},
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
