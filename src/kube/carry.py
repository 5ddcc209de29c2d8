"""Takes results that are here to a volume, so that the steps that made them have nothing to run there."""

import json
import logging
from collections.abc import Iterable, Mapping

from src.kube.helper import Helper
from src.kube.prepare import put_text
from src.kube.tidings import STEPS, list_journals, read_journals, whole_records
from src.kube.upload import Sending, upload
from src.progress import count
from src.step import SAVE_MEDIA, Record
from src.store import Store
from src.stored import find_stored

log = logging.getLogger("autopipe")
Records = dict[str, dict[str, Record]]
"""Invocations by their step and key."""


def carry(helper: Helper, store: Store, document: Record) -> int:
    """Take what the store has of a plan to the volume, outputs and journals; return how many invocations went.

    What the volume has is not taken there again, nor the media: save-media links it. No step may be at work on the
    volume. Raises what upload raises.
    """
    stored, _ = find_stored(store, document)
    found = {step: _together(records) for step, records in stored.items() if step != SAVE_MEDIA and records}
    journals = _journals(helper, found)
    for step, keys in _there(helper, found, journals).items():
        for key in keys:
            found[step].pop(key, None)
    files = [
        Sending(
            path=f"{step}/{item.entry['name']}",
            source=item.path,
            size=item.entry["size"],
            sha256=item.entry["sha256"],
        )
        for step, records in found.items()
        for item in store.inputs(step, records.values())
    ]
    entries = upload(helper, files)
    for step, records in found.items():
        if records:
            moved = [_moved(record, step, entries) for record in records.values()]
            # Before the attempts that the volume has seen; what they say of the same invocations, whose files have
            # gone, must not win. The launcher reads the journal of that name for every shard.
            later = [one for one in journals.get(step, ()) if one.get("key") not in records]
            lines = [json.dumps(record) for record in (*moved, *later)]
            put_text(helper, f"{STEPS}/{step}.jsonl", "".join(f"{line}\n" for line in lines).encode())
    taken = sum(len(records) for records in found.values())
    if taken:
        log.info("%s of earlier runs taken to the volume", count(taken, "result"))
    return taken


def _together(records: list[Record]) -> dict[str, Record]:
    """Return records by key, without those that name a file of another: runs of other inputs may have made them."""
    found: dict[str, Record] = {}
    names: set[str] = set()
    for record in records:
        its = {entry["name"] for entry in record["outputs"]}
        if names.isdisjoint(its):
            found[record["key"]] = record
            names |= its
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
