"""What a run would make and is in the store already; where that is all, nothing has to be run, on any target."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from src import step as launcher
from src.step import SAVE_MEDIA, Input, Record
from src.store import Store


def find_stored(store: Store, document: Record) -> tuple[dict[str, list[Record]], bool]:
    """Return the records that the store has of each step, and whether these are all of the plan's; touches nothing.

    Where some inputs of a step are not made yet, it is looked for with those that are known.
    """
    found: dict[str, list[Record]] = {}
    outputs: dict[str, list[Input]] = {}
    whole = True
    for step, tasks in document["steps"].items():
        inputs = _inputs_of(document["tasks"][tasks[0]], document, outputs, store)
        invocations = [one for task in tasks for one in launcher.choose_invocations(document["tasks"][task], inputs)]
        found[step] = [record for one in invocations if (record := store.find(one.key))]
        whole = whole and len(found[step]) == len(invocations)
        if step == SAVE_MEDIA:  # what it will write is known
            outputs[step] = [Input(step, one.path, one.entry) for one in inputs]
        else:
            outputs[step] = store.inputs(step, found[step])
    return found, whole


def _inputs_of(spec: Record, document: Record, outputs: Mapping[str, Sequence[Input]], store: Store) -> list[Input]:
    if spec["step"] == SAVE_MEDIA:
        return [Input("", store.media.parent / entry["name"], entry) for entry in document["media"]]
    return [item for parent in spec["parents"] for item in outputs[parent]]


def lay_all(store: Store, document: Record, folder: Path) -> bool:
    """Lay the results of all tasks into a run's folder, with their journals; return whether all were there."""
    _, whole = find_stored(store, document)
    if not whole:
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
