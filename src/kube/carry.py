"""Takes results that are here to a volume, so that the steps that made them have nothing to run there."""

import json
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
    has is not taken there again, nor the media: save-media links it. No step may be at work on the volume.
    """
    found = _here(folder, [task for task in tasks if task != SAVE_MEDIA])
    journals = _journals(helper, found)
    for step, keys in _there(helper, found, journals).items():
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
            moved = [_moved(record, step, entries) for record in records.values()]
            # Before the attempts that the volume has seen; what they say of the same invocations, whose files have
            # gone, must not win. The launcher reads the journal of that name for every shard.
            later = [one for one in journals.get(step, ()) if one.get("key") not in records]
            lines = [json.dumps(record) for record in (*moved, *later)]
            put_text(helper, f"{STEPS}/{step}.jsonl", "".join(f"{line}\n" for line in lines).encode())
    return sum(len(records) for records in found.values())


def _here(folder: Path, tasks: Iterable[str]) -> Records:
    found: Records = {}
    for task in tasks:
        known = found.setdefault(task.partition("@")[0], {})
        for record in launcher.read_journal(launcher.journal_path(folder, task)):
            if record["event"] == "invocation" and record["state"] != "failed":
                known[record["key"]] = record
    return found


def _journals(helper: Helper, steps: Iterable[str]) -> dict[str, list[Record]]:
    """Return the journals that the volume has of the steps, by name."""
    steps = set(steps)
    return read_journals(helper, [name for name in list_journals(helper) if name.partition("@")[0] in steps])


def _there(helper: Helper, steps: Iterable[str], journals: Mapping[str, list[Record]]) -> dict[str, set[str]]:
    """Return the keys of the invocations whose outputs are on the volume, by step."""
    keys: dict[str, set[str]] = {step: set() for step in steps}
    there = {one["path"]: one for one in helper.call("list", paths=sorted(keys))}
    for name, records in journals.items():
        for record in whole_records(name, records, there):
            if record["event"] == "invocation" and record["state"] != "failed":
                keys[name.partition("@")[0]].add(record["key"])
    return keys


def _moved(record: Record, step: str, entries: Mapping[str, Record]) -> Record:
    """Return a record whose outputs are known by what they are on the volume."""
    outputs = []
    for entry in record["outputs"]:
        there = entries[f"{step}/{entry['name']}"]
        outputs.append({**entry, "mtime_ns": there["mtime_ns"], "inode": there["inode"]})
    return {**record, "outputs": outputs}
