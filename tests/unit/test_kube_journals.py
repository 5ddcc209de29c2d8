"""What the journals of a volume tell while a run goes on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.dag import Dag, Edge
from src.kube.journals import Journals
from src.plan import make_plan, plan_document
from src.progress import Progress
from src.step import Input, Record, choose_invocations

DAG = Dag(path=Path("/dag.yaml"), name="app", components=("a", "b"), edges=(Edge(parent="a", child="b"),))
NAMES = ("save-media", "a", "b")


class Told(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[Any, ...]] = []

    def advance(self, task: str, record: Record) -> None:
        what = (record["kept"], record["pending"]) if record["event"] == "start" else (record["name"],)
        self.lines.append((record["event"], task, *what))

    def end(self, task: str, end: Record, kept: Sequence[Record], ran: Sequence[Record]) -> None:
        self.lines.append(("end", task, end["state"], len(kept) + len(ran), len(ran)))


def entry(name: str) -> Record:
    return {"name": name, "size": 1, "mtime_ns": 1, "inode": 1, "sha256": name, "content": name}


DOCUMENT = plan_document(
    make_plan(DAG),
    run_id="now",
    keys=dict.fromkeys(NAMES, "k"),
    sums=dict.fromkeys(NAMES, "s"),
    media=[entry("clip.mp4")],
    parallel=1,
)


def keys_of(task: str, parent: str, files: Sequence[str]) -> list[tuple[str, str]]:
    inputs = [Input(parent, Path(name), entry(name)) for name in files]
    return [(one.name, one.key) for one in choose_invocations(DOCUMENT["tasks"][task], inputs)]


def attempt(task: str, parent: str, files: Sequence[str], outputs: Sequence[str], *, run: str = "now") -> bytes:
    """A journal's lines: a start, an invocation an input with one output, an end."""
    records: list[Record] = [{"event": "start", "time": 1.0, "run": run}]
    for (name, key), output in zip(keys_of(task, parent, files), outputs, strict=True):
        records.append(
            {"event": "invocation", "key": key, "name": name, "state": "done", "outputs": [entry(output)], "run": run}
        )
    records.append({"event": "end", "state": "done"})
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


MEDIA = attempt("save-media", "", ["clip.mp4"], ["clip.mp4"])
A = attempt("a", "save-media", ["clip.mp4"], ["a_0.mp4"])
WHOLE = [
    ("start", "save-media", 0, 1),
    ("invocation", "save-media", "clip.mp4"),
    ("end", "save-media", "done", 1, 1),
    ("start", "a", 0, 1),
    ("invocation", "a", "a"),
    ("end", "a", "done", 1, 1),
]


def test_progress_is_told_in_the_order_of_the_steps() -> None:
    told = Told()
    journals = Journals(DOCUMENT, told)
    journals.take("a", 0, A)
    journals.tell()
    assert told.lines == []  # its parent is not told of yet
    assert journals.has_begun("a")
    assert not journals.has_begun("b")
    journals.take("save-media", 0, MEDIA)
    journals.tell()
    assert told.lines == WHOLE
    assert set(journals.ends) == {"save-media", "a"}


def test_bytes_may_come_in_any_pieces_and_twice() -> None:
    told = Told()
    journals = Journals(DOCUMENT, told)
    for at in range(len(MEDIA)):
        journals.take("save-media", at, MEDIA[at : at + 1])
        journals.take("save-media", 0, MEDIA[: at // 2])
        journals.tell()
    assert journals.size("save-media") == len(MEDIA)
    journals.take("a", 5, A[5:])  # a gap: asked for again
    assert journals.size("a") == 0
    journals.take("a", 0, A[:40])
    journals.take("a", 20, A[20:])
    journals.tell()
    assert told.lines == WHOLE


def test_attempts_of_earlier_runs_are_not_told_and_what_they_made_is_kept() -> None:
    told = Told()
    journals = Journals(DOCUMENT, told)
    torn = b'{"event": "start", "ti'
    journals.take("save-media", 0, attempt("save-media", "", ["clip.mp4"], ["clip.mp4"], run="before") + torn)
    journals.tell()
    assert told.lines == []
    assert not journals.has_begun("save-media")
    kept = attempt("save-media", "", ["clip.mp4"], ["clip.mp4"], run="before").replace(b'"before"', b'"now"', 1)
    journals.take("save-media", journals.size("save-media"), b"\n" + kept)
    journals.tell()
    assert told.lines == [("start", "save-media", 1, 0), ("end", "save-media", "done", 1, 0)]


def test_journals_of_steps_that_are_no_more_are_passed_over() -> None:
    journals = Journals(DOCUMENT, Told())
    journals.take("gone", 0, b"{}\n")
    journals.tell()
    assert journals.ends == {}
