"""The store: entries complete or absent, found only while they are what they were, shared by several runs."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from src import step as launcher
from src.store import Store, link_file

KEY = "ab" + "0" * 62


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def record(folder: Path, *names: str, key: str = KEY, **more: Any) -> dict[str, Any]:
    """Write output files and return the record that a journal would have of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(f"content of {name}")
    outputs = [launcher.file_entry(folder / name) for name in names]
    return {"event": "invocation", "key": key, "name": "a", "state": "done", "outputs": outputs, "run": "r", **more}


def find(store: Store, key: str = KEY) -> dict[str, Any]:
    found = store.find(key)
    assert found is not None
    return found


def test_what_was_put_is_found(store: Store, tmp_path: Path) -> None:
    put = record(tmp_path / "a", "x", "y")
    assert store.find(KEY) is None
    store.put(put, tmp_path / "a")
    found = find(store)
    assert [entry["name"] for entry in found["outputs"]] == ["x", "y"]
    (one, two) = store.inputs("a", [found])
    assert (one.path.read_text(), two.path.read_text()) == ("content of x", "content of y")
    assert one.path.samefile(tmp_path / "a" / "x")
    assert list((store.folder / "tmp").iterdir()) == []


def test_it_outlives_the_run_that_it_came_from(store: Store, tmp_path: Path) -> None:
    store.put(record(tmp_path / "a", "x"), tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    assert find(store)["outputs"][0]["name"] == "x"


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_text("CONTENT of x"),
        lambda path: path.unlink(),
        lambda path: os.truncate(path, 1),
        lambda path: os.utime(path, (1, 1)),
        lambda path: (path.rename(path.with_name("old")), shutil.copy2(path.with_name("old"), path)),
        lambda path: (path.parent / "record.json").unlink(),
        lambda path: (path.parent / "record.json").write_text('{"outputs": ['),
        lambda path: (path.parent / "record.json").write_text(""),
    ],
)
def test_an_entry_that_was_harmed_is_none_and_is_replaced(store: Store, tmp_path: Path, harm: Any) -> None:
    store.put(record(tmp_path / "a", "x"), tmp_path / "a")
    path = store.inputs("a", [find(store)])[0].path
    harm(path)
    assert store.find(KEY) is None
    store.put(record(tmp_path / "b", "x"), tmp_path / "b")
    assert store.inputs("a", [find(store)])[0].path.read_text() == "content of x"
    assert list((store.folder / "tmp").iterdir()) == []


def test_what_is_kept_stays(store: Store, tmp_path: Path) -> None:
    store.put(record(tmp_path / "a", "x", run="first"), tmp_path / "a")
    store.put(record(tmp_path / "b", "x", run="second"), tmp_path / "b")
    assert find(store)["run"] == "first"


def test_a_fresh_run_finds_nothing_and_replaces_what_is_there(store: Store, tmp_path: Path) -> None:
    store.put(record(tmp_path / "a", "x", run="first"), tmp_path / "a")
    fresh = Store(store.folder, reuse=False)
    assert fresh.find(KEY) is None
    fresh.put(record(tmp_path / "b", "x", run="second"), tmp_path / "b")
    assert find(store)["run"] == "second"


def test_a_result_without_outputs_is_a_result(store: Store, tmp_path: Path) -> None:
    store.put(record(tmp_path / "a", state="skipped"), tmp_path / "a")
    assert find(store)["outputs"] == []


def test_links_that_are_refused_are_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", refuse)
    store = Store(tmp_path / "store")
    store.put(record(tmp_path / "a", "x"), tmp_path / "a")
    assert not store.inputs("a", [find(store)])[0].path.samefile(tmp_path / "a" / "x")
    (tmp_path / "y").write_text("y")
    link_file(tmp_path / "y", tmp_path / "z")
    assert (tmp_path / "z").read_text() == "y"


# --- What killed runs left on its way ---


def test_what_a_dead_run_left_is_removed_by_the_first_who_comes(store: Store) -> None:
    left = store.folder / "tmp" / "half"
    left.mkdir(parents=True)
    (left / "media").write_text("half of it")
    (store.folder / "tmp" / "locked").mkdir(0o000)
    with store.temporary() as mine:
        assert list((store.folder / "tmp").iterdir()) == [mine]
    assert list((store.folder / "tmp").iterdir()) == []


def test_what_another_run_is_making_is_left_to_it(store: Store) -> None:
    other = Store(store.folder)
    with other.temporary() as theirs:
        with store.temporary() as mine:
            assert sorted((store.folder / "tmp").iterdir()) == sorted([theirs, mine])
        assert theirs.is_dir()


# --- Between a volume and the store ---


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume with one task `a` and its one input."""
    folder = tmp_path / "volume"
    for name in (".autopipe/steps", ".autopipe/media", "save-media"):
        (folder / name).mkdir(parents=True)
    return folder


def plan_of(volume: Path) -> dict[str, Any]:
    (volume / "save-media" / "clip").write_text("media")
    journal = launcher.Journal(launcher.journal_path(volume, "save-media"))
    entry = launcher.file_entry(volume / "save-media" / "clip")
    journal.append([{"event": "start"}, {"event": "invocation", "outputs": [entry]}, {"event": "end", "state": "done"}])
    journal.close()
    task = {"step": "a", "shard": [0, 1], "parents": ["save-media"], "join": False, "key": "k", "may_skip": False}
    return {"run": "r", "steps": {"save-media": ["save-media"], "a": ["a"]}, "tasks": {"a": task}}


def test_a_volume_takes_what_the_store_has_and_gives_what_it_made(store: Store, tmp_path: Path, volume: Path) -> None:
    plan = plan_of(volume)
    (one,) = launcher.list_invocations(volume, plan, "a")
    assert store.adopt(volume, plan, "a") is None
    made = record(volume / "a", "a.txt", key=one.key)
    journal = launcher.Journal(launcher.journal_path(volume, "a"))
    journal.append([{"event": "start"}, made, record(volume / "a", "b.txt", key="failed", state="failed")])
    journal.close()
    store.keep(volume, "a")
    assert find(store, one.key)["outputs"][0]["name"] == "a.txt"
    assert store.find("failed") is None

    other = tmp_path / "other"
    shutil.copytree(volume, other)
    shutil.rmtree(other / "a")
    (other / ".autopipe" / "steps" / "a.jsonl").unlink()
    plan = plan_of(other)
    adopted = (store.adopt(other, plan, "a") or [{}])[0]
    assert adopted in launcher.read_journal(launcher.journal_path(other, "a"))
    assert launcher.is_intact(other / "a" / "a.txt", adopted["outputs"][0])
    assert (other / "a" / "a.txt").read_text() == "content of a.txt"


def test_an_entry_that_another_run_replaces_meanwhile_is_not_taken(
    store: Store, tmp_path: Path, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(volume)
    (one,) = launcher.list_invocations(volume, plan, "a")
    store.put(record(tmp_path / "a", "a.txt", key=one.key), tmp_path / "a")
    other = record(tmp_path / "b", key=one.key)
    (tmp_path / "b" / "a.txt").write_text("another content")
    other["outputs"] = [launcher.file_entry(tmp_path / "b" / "a.txt")]
    find_entry = Store.find

    def find_then_replace(self: Store, key: str) -> Any:
        found = find_entry(self, key)
        Store(store.folder, reuse=False).put(other, tmp_path / "b")
        return found

    monkeypatch.setattr(Store, "find", find_then_replace)
    assert store.adopt(volume, plan, "a") is None
    assert launcher.read_journal(launcher.journal_path(volume, "a")) == []
    monkeypatch.setattr(Store, "find", lambda self, key: (find_entry(self, key), self.forget(key))[0], raising=False)
    monkeypatch.setattr(Store, "forget", lambda self, key: shutil.rmtree(self._place(key)), raising=False)
    assert store.adopt(volume, plan, "a") is None


def test_what_is_not_intact_on_the_volume_is_not_kept(store: Store, volume: Path) -> None:
    journal = launcher.Journal(launcher.journal_path(volume, "a"))
    journal.append([record(volume / "a", "x")])
    journal.close()
    (volume / "a" / "x").write_text("changed meanwhile")
    store.keep(volume, "a")
    assert store.find(KEY) is None


def test_the_records_of_the_store_say_what_lies_there(store: Store, tmp_path: Path) -> None:
    store.put(record(tmp_path / "a", "x"), tmp_path / "a")
    (path,) = store.folder.glob("objects/*/*/record.json")
    kept = json.loads(path.read_bytes())
    assert launcher.is_intact(path.parent / "x", kept["outputs"][0])
