"""What stands in a DAG file at all: the key System, and the keys below it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from src.dagfile.problems import Problems, shown
from src.dagfile.values import Listing, Table, Value, describe, is_null, is_refused

KEYS: Final = ("name", "repository", "revision", "input_media", "components", "dependencies", "options")
"""What stands below System."""

IGNORED: Final = {
    "alternative_components": "only what stands in components is run",
    "parallelize_from": "a component that writes several files is followed by one run a file",
}
"""Keys of other tools' files, with what happens instead."""

_SHAPE: Final = "write System: first, with name, components and dependencies indented below it"


def find_system(value: Value | None, problems: Problems) -> Table | None:
    """Return what stands below System, and known keys beside it, as if they were below; None if there is none."""
    if not isinstance(value, Table):
        if (value is None and not problems.found) or (value is not None and is_null(value)):
            problems.add(1, "the file is empty", _SHAPE)
        elif isinstance(value, Listing):
            problems.add(value.line, "the file is a list", f"one file holds one DAG: {_SHAPE}")
        elif value is not None and not is_refused(value):
            problems.add(value.line, f"the file is {describe(value)}, not a DAG", _SHAPE)
        return None
    key = "System" if "System" in value.entries else _guess_system(value, problems)
    if not key:
        return None
    system = value.entries[key]
    if not isinstance(system, Table):
        if not is_refused(system):
            problems.add(value.key_lines[key], f"System is {describe(system)}, not a mapping", _SHAPE)
        return None
    misplaced = {}
    for other, line in value.key_lines.items():
        near = other if other in KEYS else problems.guess(other, KEYS, 0.8)
        if other != key and near and near not in system.entries:
            problems.add(line, f"{shown(other)} stands outside of System", f"indent it below System:, as {near}:")
            misplaced[other] = near
        elif other != key:
            problems.warn(line, f"the key {shown(other)} beside System is ignored")
    return _rename(system, misplaced, value)


def _rename(system: Table, meant: Mapping[str, str], source: Table) -> Table:
    """Return system with keys of source under the names that were meant, so that checking goes on."""
    entries = {known: source.entries[written] for written, known in meant.items()}
    lines = {known: source.key_lines[written] for written, known in meant.items()}
    return replace(system, entries={**system.entries, **entries}, key_lines={**system.key_lines, **lines})


def _guess_system(top: Table, problems: Problems) -> str:
    """Note that System is missing; return the key that was meant, empty where there is none."""
    near = [key for key in top.entries if problems.guess(key, ["System"], 0.8)]
    if near:
        problems.add(top.key_lines[near[0]], f"the first key is {shown(near[0])}", "write System:")
        return near[0]
    problems.add(top.line, "there is no System:", _SHAPE)
    return ""


def holds_other_dags(system: Table, problems: Problems) -> bool:
    """Say whether this is a generated list of DAGs (deployments with their metrics) in place of one."""
    for key, value in system.entries.items():
        if "components" in system.entries or key in KEYS or not isinstance(value, Listing):
            continue
        dags = [one for item in value.items if isinstance(item, Table) for one in item.entries.values()]
        if any(isinstance(dag, Table) and "components" in dag.entries for dag in dags):
            what = f"{shown(key)} is a list of other DAGs, this file is none itself"
            problems.add(system.key_lines[key], what, "write one of them into a file of its own, with a name")
            return True
    return False


def check_keys(system: Table, problems: Problems) -> Table:
    """Note unknown keys; return the table with near-misses under the key that was meant."""
    meant = {}
    for key, line in system.key_lines.items():
        if key in KEYS:
            continue
        near = "" if key in IGNORED else problems.guess(key, KEYS, 0.8)
        if key in IGNORED:
            problems.warn(line, f"{key} is ignored: {IGNORED[key]}")
        elif near and near not in system.entries:  # ignored, it would leave a graph that nobody meant
            problems.add(line, f"unknown key {shown(key)}", f"write {near}")
            meant[key] = near
        else:
            problems.warn(line, f"unknown key {shown(key)} is ignored; known are {', '.join(KEYS)}")
    return _rename(system, meant, system)
