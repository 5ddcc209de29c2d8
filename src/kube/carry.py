"""Takes results that are here to a volume, so that the steps that made them have nothing to run there."""

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from src import step as launcher
from src.kube.helper import Helper
from src.kube.prepare import put_text
from src.kube.tidings import STEPS, list_journals, read_journals, whole_records
from src.kube.upload import Sending, upload
from src.step import SAVE_MEDIA, Record

Records = dict[str, dict[str, Record]]
"""Invocations by their step and key."""


def carry(helper: Helper, folder: Path, tasks: Iterable[str]) -> int:
    """Take results that are here to the volume, outputs and journals; return how many invocations went.

    folder: a run's folder in which the store has laid them (Store.adopt), with the tasks' journals. What the volume
    has is not taken there again, nor the media: save-media links it. The volume's own journals are left alone, for
    steps may be at work: the launcher finds ours beside them, under the step's name and an `@`.
    """
    found = _here(folder, [task for task in tasks if task != SAVE_MEDIA])
    for step, keys in _there(helper, found).items():
        for key in keys:
            found[step].pop(key, None)
    files = {
        f"{step}/{entry['name']}": Sending(
            path=f"{step}/{entry['name']}",
            source=folder / step / entry["name"],
            size=entry["size"],
            sha256=entry["sha256"],
        )
        for step, records in found.items()
        for record in records.values()
        for entry in record["outputs"]
    }
    entries = upload(helper, list(files.values()))
    for step, records in found.items():
        if records:
            lines = [json.dumps(_moved(record, step, entries)) for record in records.values()]
            name = f"{step}@carried-{secrets.token_hex(4)}"
            put_text(helper, f"{STEPS}/{name}.jsonl", "".join(f"{line}\n" for line in lines).encode())
    return sum(len(records) for records in found.values())


def _here(folder: Path, tasks: Iterable[str]) -> Records:
    found: Records = {}
    for task in tasks:
        known = found.setdefault(task.partition("@")[0], {})
        for record in launcher.read_journal(launcher.journal_path(folder, task)):
            if record["event"] == "invocation" and record["state"] != "failed":
                known[record["key"]] = record
    return found


def _there(helper: Helper, steps: Iterable[str]) -> dict[str, set[str]]:
    """Return the keys of the invocations whose outputs are on the volume, by step."""
    there = {one["path"]: one for one in helper.call("list", paths=sorted(steps))}
    keys: dict[str, set[str]] = {step: set() for step in steps}
    names = [name for name in list_journals(helper) if name.partition("@")[0] in keys]
    for task, records in read_journals(helper, names).items():
        for record in whole_records(task, records, there):
            if record["event"] == "invocation" and record["state"] != "failed":
                keys[task.partition("@")[0]].add(record["key"])
    return keys


def _moved(record: Record, step: str, entries: Mapping[str, Record]) -> Record:
    """Return a record whose outputs are known by what they are on the volume."""
    outputs = []
    for entry in record["outputs"]:
        there = entries[f"{step}/{entry['name']}"]
        outputs.append({**entry, "mtime_ns": there["mtime_ns"], "inode": there["inode"]})
    return {**record, "outputs": outputs}
