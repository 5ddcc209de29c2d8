"""What the store lays onto a volume by itself, and what it leaves to the launcher."""

import json
from pathlib import Path
from typing import Any

import pytest

from src import step as launcher
from src.store import Store

KEYS = ("one" + "0" * 61, "two" + "0" * 61)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    (folder / ".autopipe" / "steps").mkdir(parents=True)
    (folder / ".autopipe" / "media").mkdir()
    return folder


def make_record(folder: Path, key: str, files: dict[str, str], run: str = "earlier") -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return {
        "event": "invocation",
        "key": key,
        "name": key[:3],
        "state": "done" if files else "skipped",
        "inputs": [],
        "outputs": [launcher.file_entry(folder / name) for name in files],
        "exit": 0,
        "time": 1.0,
        "seconds": 0.5,
        "attempts": 1,
        "run": run,
    }


def make_plan(volume: Path, media: dict[str, str], *, may_skip: bool = False) -> dict[str, Any]:
    folder = volume / ".autopipe" / "media"
    for name, text in media.items():
        (folder / name).write_text(text)
    task = {"step": "save-media", "shard": [0, 1], "parents": [], "join": False, "may_skip": may_skip, "key": "known"}
    return {
        "run": "now",
        "media": [launcher.file_entry(folder / name) for name in sorted(media)],
        "steps": {"save-media": ["save-media"]},
        "tasks": {"save-media": task},
    }


def keys_of(volume: Path, plan: dict[str, Any]) -> list[str]:
    return [one.key for one in launcher.list_invocations(volume, plan, "save-media")]


def test_a_task_that_is_stored_whole_is_complete_at_once(store: Store, volume: Path, tmp_path: Path) -> None:
    plan = make_plan(volume, {"a": "A", "b": "B"})
    for key, files in zip(keys_of(volume, plan), ({"x": "1"}, {"y": "2", "z": "3"}), strict=True):
        store.put(make_record(tmp_path / "made", key, files), tmp_path / "made")
    records = store.adopt(volume, plan, "save-media")
    assert records is not None
    assert [entry["name"] for record in records for entry in record["outputs"]] == ["x", "y", "z"]
    assert {path.name: path.read_text() for path in (volume / "save-media").iterdir()} == {"x": "1", "y": "2", "z": "3"}
    # Whoever comes after it, and the launcher itself, find it done.
    outputs = launcher.step_outputs(volume, plan, "save-media")
    assert all(launcher.is_intact(volume / "save-media" / entry["name"], entry) for entry in outputs)
    assert launcher.divide_invocations(volume, plan, "save-media")[1] == []
    events = [record["event"] for record in launcher.read_journal(launcher.journal_path(volume, "save-media"))]
    assert events == ["start", "invocation", "invocation", "end"]


def test_a_task_that_is_stored_in_part_is_left_to_the_launcher(store: Store, volume: Path, tmp_path: Path) -> None:
    plan = make_plan(volume, {"a": "A", "b": "B"})
    first, second = keys_of(volume, plan)
    store.put(make_record(tmp_path / "made", first, {"x": "1"}), tmp_path / "made")
    assert store.adopt(volume, plan, "save-media") is None
    kept, pending = launcher.divide_invocations(volume, plan, "save-media")
    assert [record["key"] for record in kept] == [first]
    assert [one.key for one in pending] == [second]


def test_records_of_two_runs_that_name_one_file_are_left_to_the_launcher(
    store: Store, volume: Path, tmp_path: Path
) -> None:
    plan = make_plan(volume, {"a": "A", "b": "B"})
    for number, key in enumerate(keys_of(volume, plan)):
        made = tmp_path / f"made{number}"
        store.put(make_record(made, key, {"same": str(number)}), made)
    assert store.adopt(volume, plan, "save-media") is None


@pytest.mark.parametrize("may_skip", [True, False])
def test_a_stored_skip_counts_only_where_it_is_still_allowed(
    store: Store, volume: Path, tmp_path: Path, may_skip: bool
) -> None:
    plan = make_plan(volume, {"a": "A"}, may_skip=may_skip)
    store.put(make_record(tmp_path / "made", keys_of(volume, plan)[0], {}), tmp_path / "made")
    assert (store.adopt(volume, plan, "save-media") is not None) == may_skip


def test_a_folder_that_has_files_already_is_left_to_the_launcher(store: Store, volume: Path, tmp_path: Path) -> None:
    plan = make_plan(volume, {"a": "A"})
    store.put(make_record(tmp_path / "made", keys_of(volume, plan)[0], {"x": "1"}), tmp_path / "made")
    (volume / "save-media").mkdir()
    (volume / "save-media" / "stale").write_text("of an earlier attempt")
    assert store.adopt(volume, plan, "save-media") is None


def test_a_broken_entry_is_made_again(store: Store, tmp_path: Path) -> None:
    record = make_record(tmp_path / "made", KEYS[0], {"x": "1"})
    store.put(record, tmp_path / "made")
    (found,) = store.folder.glob("objects/*/*/x")
    found.unlink()
    assert store.find(KEYS[0]) is None
    store.put(record, tmp_path / "made")
    assert store.find(KEYS[0]) is not None
    assert list((store.folder / "tmp").iterdir()) == []


def test_what_another_run_stored_in_the_same_moment_is_replaced(store: Store, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    store.put(make_record(first, KEYS[0], {"x": "1"}), first)
    late = Store(store.folder, reuse=False)  # it does not see that the entry is there
    late.put(make_record(second, KEYS[0], {"x": "2"}), second)
    found = store.find(KEYS[0])
    assert found is not None
    (path,) = store.folder.glob("objects/*/*/x")
    assert path.read_text() == "2"


def test_only_what_is_done_and_intact_is_kept(store: Store, volume: Path) -> None:
    folder = volume / "step"
    done, failed = make_record(folder, KEYS[0], {"x": "1"}), make_record(folder, KEYS[1], {"y": "2"})
    failed["state"] = "failed"
    torn = make_record(folder, "torn" + "0" * 60, {"z": "3"})
    (folder / "z").write_text("changed since")
    lines = [{"event": "start"}, done, failed, torn]
    launcher.journal_path(volume, "step@1").write_text("".join(json.dumps(line) + "\n" for line in lines))
    store.keep(volume, "step@1")
    assert [store.find(record["key"]) is not None for record in (done, failed, torn)] == [True, False, False]
