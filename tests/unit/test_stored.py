"""Runs whose results are all in the store: laid into a folder as if they had run, or left alone."""

import os
from pathlib import Path
from typing import Any

import pytest

from src import step as launcher
from src.dag import Dag, Edge, Options
from src.plan import make_plan, plan_document
from src.record import PRIVATE, prepare_volume
from src.step import Record
from src.store import Store
from src.stored import find_stored, lay_all

COMMAND = ("sh", "-c", 'for n in 0 1; do cp "$2" "$4_$n"; done', "sh")
OPTIONS = Options(command=COMMAND)
DAG = Dag(
    path=Path("/dag.yaml"),
    name="app",
    components=("a", "b"),
    edges=(Edge(parent="a", child="b"),),
    options={"a": OPTIONS, "b": Options(command=COMMAND, shards=2)},
)


def document_of(media: list[dict[str, Any]], *, run: str, key: str = "k") -> Record:
    names = ("save-media", *DAG.components)
    return plan_document(
        make_plan(DAG),
        run_id=run,
        keys=dict.fromkeys(names, key) | {"save-media": "m"},
        sums=dict.fromkeys(names, "s"),
        media=media,
        parallel=1,
    )


def volume_of(folder: Path) -> Path:
    (folder / PRIVATE).mkdir(parents=True)
    prepare_volume(folder)
    return folder


@pytest.fixture
def made(tmp_path: Path) -> tuple[Store, list[dict[str, Any]]]:
    """A store with all that a run of the DAG made."""
    store, volume = Store(tmp_path / "store"), volume_of(tmp_path / "first")
    (empty := tmp_path / "empty").mkdir()
    media = volume / PRIVATE / "media" / "clip"
    media.write_text("media")
    document = document_of([launcher.file_entry(media)], run="first")
    save = document["tasks"]["save-media"]
    save["command"] = ["sh", "-c", 'cp "$2" "$4"', "sh"]
    for tasks in document["steps"].values():
        for task in tasks:
            end = launcher.run_task(volume, document, task, component=lambda: empty)
            assert end["state"] == "done", end
            store.keep(volume, task)
    return store, document["media"]


def test_a_run_is_laid_out_as_if_it_had_run(made: tuple[Store, list[dict[str, Any]]], tmp_path: Path) -> None:
    store, media = made
    folder, document = volume_of(tmp_path / "second"), document_of(media, run="second")

    os.link(tmp_path / "first" / PRIVATE / "media" / "clip", folder / PRIVATE / "media" / "clip")
    assert find_stored(store, document)[1]
    assert lay_all(store, document, folder)

    assert sorted(path.name for path in (folder / "a").iterdir()) == ["a_0", "a_1"]
    assert sorted(path.name for path in (folder / "b").iterdir()) == ["b_0_0", "b_0_1", "b_1_0", "b_1_1"]
    for task in document["tasks"]:
        *records, end = launcher.last_attempt(launcher.read_journal(launcher.journal_path(folder, task)))
        assert end["state"] == "done"
        assert {record["run"] for record in records} == {"first"}
        for record in records:
            for entry in record["outputs"]:
                assert launcher.is_intact(folder / task.partition("@")[0] / entry["name"], entry)


def test_what_is_not_there_as_a_whole_is_left_alone(made: tuple[Store, list[dict[str, Any]]], tmp_path: Path) -> None:
    store, media = made
    folder, document = volume_of(tmp_path / "second"), document_of(media, run="second", key="other")

    assert not find_stored(store, document)[1]
    assert not lay_all(store, document, folder)

    assert not (folder / "a").exists()


def test_a_result_that_was_changed_in_the_store_is_none(
    made: tuple[Store, list[dict[str, Any]]], tmp_path: Path
) -> None:
    store, media = made
    document = document_of(media, run="second")
    record = next(path for path in store.folder.glob("objects/*/*/b_1_0"))
    record.unlink()
    record.write_text("edited")
    assert not find_stored(store, document)[1]


def test_what_is_made_of_other_inputs_is_found(made: tuple[Store, list[dict[str, Any]]], tmp_path: Path) -> None:
    store, media = made
    next(store.folder.glob("objects/*/*/b_1_0")).unlink()
    found, whole = find_stored(store, document_of(media, run="second"))
    assert not whole
    assert [len(found[step]) for step in ("save-media", "a", "b")] == [1, 1, 1]
    (tmp_path / "new").write_text("new media")
    found, _ = find_stored(store, document_of([launcher.file_entry(tmp_path / "new")], run="second"))
    assert found == {"save-media": [], "a": [], "b": []}


def test_a_fresh_run_takes_nothing(made: tuple[Store, list[dict[str, Any]]]) -> None:
    store, media = made
    assert not find_stored(Store(store.folder, reuse=False), document_of(media, run="second"))[1]
