"""The `options:` of components: every option known, parsed and checked."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from src.dagfile.option_tables import read_env, read_node_selector, read_secrets, read_tolerations
from src.dagfile.option_values import (
    count_reader,
    read_base_image,
    read_command,
    read_cpu,
    read_flag,
    read_memory,
    read_python,
    read_timeout,
    read_words,
)
from src.dagfile.problems import Problems, is_placeholder, shown
from src.dagfile.records import Options
from src.dagfile.values import Table, Value, describe, is_null, is_refused

READERS: Final[Mapping[str, Callable[[Value, str, Problems], Any]]] = {
    "cpu": read_cpu,
    "memory": read_memory,
    "gpu": count_reader(0, 1000),
    "timeout": read_timeout,
    "retries": count_reader(0, 1000),
    "env": read_env,
    "args": read_words,
    "secrets": read_secrets,
    "node_selector": read_node_selector,
    "tolerations": read_tolerations,
    "join": read_flag,
    "optional": read_flag,
    "copy_input": read_flag,
    "shards": count_reader(1, 1000),
    "python": read_python,
    "base_image": read_base_image,
    "command": read_command,
}
"""Option -> its reader: (value, where, problems) to the value of the field of Options with that name."""


def read_options(value: Value | None, components: Mapping[str, int], problems: Problems) -> dict[str, Options]:
    """Return the options of the components that have some.

    components: the names in the file's list, empty when there is none to compare with. An option that is null
    counts as not given. Problems gets options of unknown components, unknown options, wrong values, and
    options that exclude each other.
    """
    if value is None or is_refused(value):
        return {}
    if not isinstance(value, Table):
        problems.add(value.line, f"options is {describe(value)}, not a mapping", "write options: {component: {cpu: 2}}")
        return {}
    found = {}
    for name, table in value.entries.items():
        line = value.key_lines[name]
        if components and name not in components and not is_placeholder(name):
            _note_unknown_component(name, line, components, problems)
        if isinstance(table, Table):
            if table.entries:
                found[name] = _read_component(table, name, problems)
        elif not is_null(table) and not is_refused(table):
            what = f"the options of {shown(name)} are {describe(table)}, not a mapping"
            problems.add(table.line, what, f"write {shown(name)}: {{cpu: 2}}")
    return found


def _read_component(table: Table, component: str, problems: Problems) -> Options:
    values = {}
    for option, value in table.entries.items():
        if option not in READERS:
            near = problems.guess(option, READERS)
            hint = f"write {near}" if near else f"known are {', '.join(READERS)}"
            problems.add(table.key_lines[option], f"unknown option {shown(option)} of {shown(component)}", hint)
        elif not is_null(value):
            read = READERS[option](value, f"{option} of {shown(component)}", problems)
            if read is not None:
                values[option] = read
    options = Options(**values)
    if options.join and options.shards > 1:
        what = f"join and shards of {shown(component)} exclude each other: a join runs once"
        problems.add(table.key_lines["shards"], what, "leave one of them out")
    for name in sorted(options.env.keys() & options.secrets.keys()):
        what = f"{shown(name)} of {shown(component)} is in env and in secrets"
        problems.add(table.key_lines["secrets"], what, "leave one of them out")
    return options


def _note_unknown_component(name: str, line: int, components: Mapping[str, int], problems: Problems) -> None:
    near = problems.guess(name, components)
    hint = f"write {shown(near)}" if near else "write a name from components, or add it there"
    problems.add(line, f"options for {shown(name)}, which is not in components", hint)
