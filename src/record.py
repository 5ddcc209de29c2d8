"""A run's folder and record, `output/<dag>/<run id>/` and its run.json."""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src import step as launcher
from src.errors import OutputError, before_work
from src.lock import dag_folder, try_lock
from src.plan import Plan
from src.report import make_report
from src.step import WORK, Record
from src.store import Store

RECORD = "run.json"
PRIVATE = ".autopipe"
CLOSING = ".autopipe-closing"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution; its folder is the volume of the local targets."""

    id: str
    folder: Path
    store: Store
    media: tuple[Record, ...]  # entries of the saved media
    facts: Mapping[str, Any]  # what run.json says of the whole run
    started: float  # seconds since the epoch


@contextlib.contextmanager
def open_run(
    plan: Plan, output: Path, store: Store, media: tuple[Record, ...], facts: Mapping[str, Any]
) -> Iterator[Run]:
    """Make a run's folder, and say in its record that it is running; raises ConfigError when the disk refuses.

    A lock in the folder, held while the block runs, tells runs at work from dead ones.
    """
    started = time.time()
    run_id = time.strftime("%Y%m%d-%H%M%S-", time.localtime(started)) + secrets.token_hex(2)
    folder = dag_folder(plan.dag, output) / run_id
    run = Run(id=run_id, folder=folder, store=store, media=media, facts=facts, started=started)
    with before_work(folder), contextlib.ExitStack() as stack:
        with store.temporary() as made:  # so that nobody sees it without its lock
            born = made / run_id
            (born / PRIVATE).mkdir(parents=True)
            fd = os.open(born / PRIVATE / "lock", os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, fd)
            try_lock(fd)
            prepare_volume(born)
            born.rename(folder)
        write_record(run, "running")
        held = stack.pop_all()
    with held:
        yield run


def prepare_volume(folder: Path) -> None:
    """Make the folders that the launcher expects on a volume, open to whatever user runs it."""
    for name in (f"{PRIVATE}/steps", f"{PRIVATE}/logs", f"{PRIVATE}/media", WORK):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)


def write_record(run: Run, state: str, steps: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write run.json, the run's facts and state and the records of its steps; at the end report.html too."""
    document = {"run": run.id, **run.facts, "state": state, "started": _iso(run.started)}
    if steps:
        document |= {"ended": _iso(time.time()), "media": [_sums(entry) for entry in run.media], "steps": list(steps)}
        write_text(run.folder / "report.html", make_report(document, steps))
    write_text(run.folder / RECORD, record_text(document))


def record_text(document: Mapping[str, Any]) -> str:
    """Return run.json: a line a field, and a line a step."""
    # With json's own indent the encoder is the slow one, and a long run's record has more lines than anyone reads.
    fields = {name: json.dumps(value) for name, value in document.items()}
    if "steps" in fields:
        fields["steps"] = "[\n  " + ",\n  ".join(json.dumps(step) for step in document["steps"]) + "\n ]"
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {text}" for name, text in fields.items()) + "\n}\n"


def write_text(path: Path, text: str) -> None:
    """Write a file that is seen whole or not at all."""
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    made.write_text(text, encoding="utf-8")
    made.replace(path)


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def step_records(run: Run, plan: Plan) -> list[dict[str, Any]]:
    """Return what the journals say of each step, in order, for run.json."""
    return [_step_record(run, step.name, step.tasks) for step in plan.steps]


def _step_record(run: Run, name: str, tasks: tuple[str, ...]) -> dict[str, Any]:
    files: list[Record] = []
    ends: list[Record] = []
    for task in tasks:
        for record in launcher.last_attempt(launcher.read_journal(launcher.journal_path(run.folder, task))):
            (ends if record["event"] == "end" else files).append(record)
    state = launcher.step_state(end["state"] for end in ends) if len(ends) == len(tasks) else "not run"
    return {
        "step": name,
        "state": state,
        "ran": sum(record["run"] == run.id for record in files),
        "reused": sum(record["run"] != run.id for record in files),
        "seconds": round(sum(record["seconds"] for record in files if record["run"] == run.id), 3),
        **next(
            (
                {key: end[key] for key in ("message", "hint", "tail") if end.get(key)}
                for end in ends
                if "message" in end
            ),
            {},
        ),
        "invocations": [_public(record) for record in files],
    }


def _public(record: Record) -> dict[str, Any]:
    fields = ("name", "key", "state", "exit", "attempts", "time", "seconds", "run", "message", "hint", "tail")
    return {
        **{field: record[field] for field in fields if field in record},
        "inputs": [
            _sums(entry) | ({"parent": entry["parent"]} if entry["parent"] else {}) for entry in record["inputs"]
        ],
        "outputs": [_sums(entry) for entry in record["outputs"]],
    }


def _sums(entry: Record) -> dict[str, Any]:
    return {field: entry[field] for field in ("name", "size", "sha256", "content")}


def close_folder(folder: Path) -> None:
    """Leave in a run's folder what people read: outputs, logs, record."""
    private, closing = folder / PRIVATE, folder / CLOSING
    launcher.remove_tree(folder / WORK)
    if private.exists():
        if not (folder / "logs").exists() and (private / "logs").exists():
            (private / "logs").rename(folder / "logs")
        private.rename(closing)  # no more a run's: what a kill leaves of it needs no recovery
    for path in folder.glob(".*"):  # torn records too
        launcher.remove_tree(path) if path.is_dir() else path.unlink(missing_ok=True)


def point_latest(run: Run) -> None:
    """Let `latest` beside the run's folder lead to it; raises OutputError."""
    link = run.folder.with_name("latest")
    try:
        with run.store.temporary() as made:
            (made / "latest").symlink_to(run.id)
            (made / "latest").replace(link)
    except OSError as error:
        raise OutputError(
            f"{link} cannot be made to lead to {run.folder}: {error.strerror}",
            hint="the outputs are complete; move away what has that name, or free some space",
        ) from error
