"""What journals and logs on a volume say, while a run goes on and after it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from src.kube.download import fetch_files
from src.kube.helper import Helper
from src.step import Record

STEPS, LOGS = ".autopipe/steps", ".autopipe/logs"
JOURNALS = 32  # that are read at once
LIMIT = 4 << 20  # bytes that are read at once


class Growth:
    """What journals and logs get, from offsets on: {path: bytes}."""

    def __init__(self, helper: Helper, offsets: Mapping[str, int]) -> None:
        self._helper = helper
        self._offsets = dict(offsets)

    def read(self, prefix: str = "") -> Iterator[tuple[str, int, bytes]]:
        """Give what is new since the last time: path, offset, bytes; only of paths with that prefix.

        Raises RefusedError, CutError, StoppedError; what was given until then is not given again.
        """
        size = LIMIT
        while size >= LIMIT:
            size = 0
            for record in self._helper.call("grown", offsets=self._offsets, limit=LIMIT):
                data = record["data"].encode("utf-8", "surrogateescape")
                self._offsets[record["path"]] = record["at"] + len(data)
                size += len(data)
                if record["path"].startswith(prefix):
                    yield record["path"], record["at"], data


def list_journals(helper: Helper) -> set[str]:
    """Return the names of the journals on the volume: tasks, and what was carried there for a step."""
    return {Path(one["path"]).stem for one in helper.call("list", paths=[STEPS])}


def read_journals(helper: Helper, tasks: Sequence[str]) -> dict[str, list[Record]]:
    """Return the records of the tasks that have a journal on the volume; raises RefusedError, CutError."""
    there = list_journals(helper)
    paths = [f"{STEPS}/{task}.jsonl" for task in tasks if task in there]
    found: dict[str, list[Record]] = {}
    for start in range(0, len(paths), JOURNALS):
        some = paths[start : start + JOURNALS]
        contents = helper.repeat(lambda door, some=some: fetch_files(door, some))  # type: ignore[misc]
        found.update((Path(path).stem, list(_parse(content))) for path, content in contents.items())
    return found


def _parse(content: bytes) -> Iterator[Record]:
    for line in content.split(b"\n"):
        try:
            yield json.loads(line)
        except ValueError:
            continue  # empty, or torn by a kill


def whole_records(task: str, records: Iterable[Record], there: Mapping[str, Record]) -> Iterator[Record]:
    """Give the records of a task whose outputs are on the volume as they were written; there: entries by path."""
    step = task.partition("@")[0]
    for record in records:
        if all(_is_there(step, entry, there) for entry in record.get("outputs", ())):
            yield record


def _is_there(step: str, entry: Record, there: Mapping[str, Record]) -> bool:
    # A name is what a component wrote; it must not lead out of the run's folder.
    if "/" in entry["name"] or entry["name"] in ("", ".", ".."):
        return False
    found = there.get(f"{step}/{entry['name']}")
    return found is not None and all(found[field] == entry[field] for field in ("size", "mtime_ns", "inode"))
