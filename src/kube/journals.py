"""What the journals on a volume tell while a run goes on there: progress, and how each task ended."""

import json
from pathlib import Path
from typing import Final

from src import step as launcher
from src.progress import Progress
from src.step import SAVE_MEDIA, Input, Record

FOLDER: Final = ".autopipe/steps/"


class Journals:
    """Takes the journals' bytes as they come; tells progress of what belongs to this run.

    A kept volume has the attempts of earlier runs too, which a start with another run's id begins. A task is told of
    only after its parents have ended, whatever comes first, for what it has to do follows from their files.
    """

    def __init__(self, document: Record, progress: Progress) -> None:
        self._document = document
        self._progress = progress
        self._parts: dict[str, bytes] = {}  # the beginning of a line whose end has not come
        self._sizes: dict[str, int] = {}
        self._waiting: dict[str, list[Record]] = {task: [] for task in document["tasks"]}
        self._known: dict[str, set[str]] = {}  # step -> keys of invocations that were done before
        self._attempts: dict[str, list[Record]] = {}  # task -> invocations of this run's attempt
        self._kept: dict[str, set[str]] = {}
        self.ends: dict[str, Record] = {}
        """The end record of each task that has ended in this run."""

    def take(self, task: str, at: int, data: bytes) -> None:
        """Take bytes of a task's journal, which begin at an offset; what was taken before is passed over."""
        if task not in self._waiting:
            return  # of a step that the DAG had in an earlier run
        skip = self._sizes.get(task, 0) - at
        if skip < 0 or skip >= len(data):
            return  # a gap, which is asked for again; or nothing new
        self._sizes[task] = at + len(data)
        *lines, self._parts[task] = (self._parts.get(task, b"") + data[skip:]).split(b"\n")
        for line in lines:
            try:
                self._waiting[task].append(json.loads(line))
            except ValueError:
                continue  # empty, or torn by a kill

    def size(self, task: str) -> int:
        """Return how many bytes of a task's journal were taken."""
        return self._sizes.get(task, 0)

    def tell(self) -> None:
        """Tell progress of what has come, in the order of the steps."""
        for task, spec in self._document["tasks"].items():
            parents = [one for parent in spec["parents"] for one in self._document["steps"][parent]]
            if all(one in self.ends for one in parents):
                records, self._waiting[task] = self._waiting[task], []
                for record in records:
                    self._tell(task, record)

    def has_begun(self, task: str) -> bool:
        """Say whether the launcher of a task has started in this run."""
        return task in self._attempts or any(self._is_ours(record) for record in self._waiting[task])

    def _is_ours(self, record: Record) -> bool:
        return bool(record["event"] == "start" and record.get("run") == self._document["run"])

    def _tell(self, task: str, record: Record) -> None:
        step = self._document["tasks"][task]["step"]
        if record["event"] == "start":
            self._attempts.pop(task, None)
            if self._is_ours(record):
                self._begin(task)
        elif record["event"] == "invocation":
            if task not in self._attempts:
                if record["state"] != "failed":
                    self._known.setdefault(step, set()).add(record["key"])
                return
            self._attempts[task].append(record)
            if record["key"] not in self._kept[task]:
                self._progress.advance(task, record)
        elif task in self._attempts:
            self.ends[task] = record
            run, attempt = self._document["run"], self._attempts[task]
            kept = [one for one in attempt if one["run"] != run]
            self._progress.end(task, record, kept, [one for one in attempt if one["run"] == run])

    def _begin(self, task: str) -> None:
        expected = {one.key for one in launcher.choose_invocations(self._document["tasks"][task], self._inputs(task))}
        # The journal does not say what is kept; a result whose files vanished is among the guessed ones, and run again.
        self._kept[task] = expected & self._known.get(self._document["tasks"][task]["step"], set())
        self._attempts[task] = []
        kept = len(self._kept[task])
        self._progress.advance(task, {"event": "start", "kept": kept, "pending": len(expected) - kept})

    def _inputs(self, task: str) -> list[Input]:
        spec = self._document["tasks"][task]
        if spec["step"] == SAVE_MEDIA:
            return [Input("", Path(entry["name"]), entry) for entry in self._document["media"]]
        return [
            Input(parent, Path(entry["name"]), entry)
            for parent in spec["parents"]
            for one in self._document["steps"][parent]
            for record in self._attempts.get(one, ())
            for entry in record["outputs"]
        ]
