"""Journals: whole lines or none, whatever a kill tore."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from src.step import Journal, StepError, journal_path, last_attempt, read_journal, step_outputs, step_state

RECORDS: list[dict[str, Any]] = [
    {"event": "start", "time": 1.0},
    {"event": "invocation", "key": "k", "name": "ünï ☃", "outputs": [{"name": "x\ny"}]},
    {"event": "end", "state": "done"},
]


def append(path: Path, records: list[dict[str, Any]]) -> None:
    journal = Journal(path)
    journal.append(records, durable=True)
    journal.close()


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", RECORDS[:1])
    append(tmp_path / "a.jsonl", RECORDS[1:])
    assert read_journal(tmp_path / "a.jsonl") == RECORDS
    assert read_journal(tmp_path / "none.jsonl") == []


def test_a_line_torn_anywhere_is_passed_over_and_ended_by_the_next(tmp_path: Path) -> None:
    append(tmp_path / "whole", RECORDS)
    data = (tmp_path / "whole").read_bytes()
    path = tmp_path / "torn"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        whole = data[:size].count(b"\n")
        # A line whose newline alone is missing says all that it has to say.
        found = read_journal(path)
        assert found in (RECORDS[:whole], RECORDS[: whole + 1])
        append(path, [{"event": "start"}])
        assert read_journal(path) == [*found, {"event": "start"}]


@pytest.mark.parametrize("junk", [b"\n\n", b"\0\0\0\0\n", b"{]\n", b"\xff\xfe\n"])
def test_junk_between_lines_is_passed_over(tmp_path: Path, junk: bytes) -> None:
    append(tmp_path / "a", RECORDS[:1])
    with (tmp_path / "a").open("ab") as file:
        file.write(junk)
    append(tmp_path / "a", RECORDS[1:])
    assert read_journal(tmp_path / "a") == RECORDS


def test_threads_append_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a")
    many = [{"event": "invocation", "key": f"{number}", "filler": "x" * 5000} for number in range(200)]

    def work(part: int) -> None:
        for record in many[part::4]:
            journal.append([record])

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert sorted(record["key"] for record in read_journal(tmp_path / "a")) == sorted(record["key"] for record in many)


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:7]))
    append(tmp_path / "a", RECORDS)
    assert read_journal(tmp_path / "a") == RECORDS


def test_the_last_attempt_is_what_follows_the_last_start() -> None:
    assert last_attempt(RECORDS) == RECORDS[1:]
    assert last_attempt([*RECORDS, {"event": "start"}]) == []
    assert last_attempt([]) == []
    assert last_attempt(RECORDS[1:]) == []


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["done"], "done"),
        (["skipped"], "skipped"),
        (["done", "skipped"], "done"),
        (["done", "failed"], "failed"),
        (["skipped", "failed"], "failed"),
        ([], "skipped"),
    ],
)
def test_the_state_of_a_step(states: list[str], state: str) -> None:
    assert step_state(states) == state


# --- Outputs of a step, as its consumers read them ---


def write_task(volume: Path, task: str, outputs: list[str], *, state: str | None = "done") -> None:
    journal_path(volume, task).parent.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = [{"event": "start"}]
    records += [{"event": "invocation", "outputs": [{"name": name}]} for name in outputs]
    records += [{"event": "end", "state": state}] if state else []
    append(journal_path(volume, task), records)


PLAN = {"steps": {"a": ["a@0", "a@1"]}}


def test_outputs_of_all_shards_are_sorted(tmp_path: Path) -> None:
    write_task(tmp_path, "a@0", ["z"])
    write_task(tmp_path, "a@0", ["c", "a"])  # a later attempt is the one that counts
    write_task(tmp_path, "a@1", ["b"], state="skipped")
    assert [entry["name"] for entry in step_outputs(tmp_path, PLAN, "a")] == ["a", "b", "c"]


@pytest.mark.parametrize("state", [None, "failed"])
def test_outputs_of_a_step_that_is_not_complete_are_not_taken(tmp_path: Path, state: str | None) -> None:
    write_task(tmp_path, "a@0", ["a"])
    with pytest.raises(StepError, match="a@1 is not complete"):
        step_outputs(tmp_path, PLAN, "a")
    write_task(tmp_path, "a@1", ["b"], state=state)
    with pytest.raises(StepError, match="a@1 is not complete"):
        step_outputs(tmp_path, PLAN, "a")


def test_two_shards_that_wrote_one_name_are_an_error(tmp_path: Path) -> None:
    write_task(tmp_path, "a@0", ["same"])
    write_task(tmp_path, "a@1", ["same"])
    with pytest.raises(StepError, match="two shards of a wrote same"):
        step_outputs(tmp_path, PLAN, "a")


def test_a_journal_is_plain_json_lines(tmp_path: Path) -> None:
    append(tmp_path / "a", RECORDS)
    lines = (tmp_path / "a").read_text(encoding="ascii").splitlines()
    assert [json.loads(line) for line in lines] == RECORDS
