"""A run whose every result is in the store already: nothing has to be run, on whatever target."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from src import step as launcher
from src.step import SAVE_MEDIA, Input, Record
from src.store import Store


def all_stored(store: Store, document: Record) -> bool:
    """Say whether the store has the results of all tasks of a plan; touches nothing."""
    outputs: dict[str, list[Input]] = {}
    for step, tasks in document["steps"].items():
        inputs = _inputs_of(document["tasks"][tasks[0]], document, outputs, store)
        records: list[Record] = []
        for task in tasks:
            for one in launcher.choose_invocations(document["tasks"][task], inputs):
                record = store.find(one.key)
                if record is None:
                    return False
                records.append(record)
        outputs[step] = store.inputs(step, records)
    return True


def _inputs_of(spec: Record, document: Record, outputs: Mapping[str, Sequence[Input]], store: Store) -> list[Input]:
    if spec["step"] == SAVE_MEDIA:
        return [Input("", store.media.parent / entry["name"], entry) for entry in document["media"]]
    return [item for parent in spec["parents"] for item in outputs[parent]]


def lay_all(store: Store, document: Record, folder: Path) -> bool:
    """Lay the results of all tasks into a run's folder, with their journals; return whether all were there."""
    if not all_stored(store, document):
        return False
    for tasks in document["steps"].values():
        for task in tasks:
            if store.adopt(folder, document, task) is not None:
                continue
            # Nothing is left to be run: the launcher checks that all is there, and writes the end.
            if launcher.run_task(folder, document, task, component=_refuse)["state"] == "failed":
                return False
    return True


def _refuse() -> Path:
    raise launcher.StepError("a stored result vanished", "give the same command again", retry=False)
