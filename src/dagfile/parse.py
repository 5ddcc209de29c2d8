"""The text of a DAG file, checked, as a Dag; pure."""

from pathlib import Path
from typing import Final

from src.dagfile.graph import read_components, read_edges
from src.dagfile.keys import check_keys, find_system, holds_other_dags
from src.dagfile.options import read_options
from src.dagfile.problems import Problems, is_placeholder, shown
from src.dagfile.records import Dag
from src.dagfile.source import read_media, read_repository, read_revision
from src.dagfile.values import Listing, Scalar, Table, describe, is_refused
from src.dagfile.yaml import read_yaml

LONGEST_APPLICATION: Final = 100


def read_dag(text: str, path: Path) -> Dag:
    """Return the Dag in text; path is absolute: relative paths in the file are relative to its folder.

    Raises ConfigError with all problems of the file at once.
    """
    problems = Problems(file=path.name)
    system = find_system(read_yaml(text, problems), problems)
    if system is None or holds_other_dags(system, problems):
        raise problems.error()
    system = check_keys(system, problems)
    listed = system.get("components")
    components = read_components(listed, system.key_lines.get("components", system.line), problems)
    known = components if isinstance(listed, Listing) else {}
    repository = system.get("repository")
    dag = Dag(
        path=path,
        name=_read_application(system, problems),
        components=tuple(components),
        edges=read_edges(system.get("dependencies"), known, problems),
        repository=read_repository(repository, path.parent, problems),
        revision=read_revision(system.get("revision"), repository=repository is not None, problems=problems),
        media=read_media(system.get("input_media"), path.parent, problems),
        options=read_options(system.get("options"), known, problems),
        lines=components,
        warnings=problems.warnings(),
    )
    if problems.found:
        raise problems.error()
    return dag


def _read_application(system: Table, problems: Problems) -> str:
    """Return the application's name, which becomes a folder; empty after a problem was noted."""
    value, line = system.get("name"), system.key_lines.get("name", system.line)
    hint = "write name: my_app"
    if value is None:
        problems.add(line, "name is empty" if "name" in system.entries else "there is no name", hint)
        return ""
    if not isinstance(value, Scalar) or value.kind != "text":
        if not is_refused(value):
            quoted = f"write name: {shown(value.text)}, in quotes" if isinstance(value, Scalar) else hint
            problems.add(value.line, f"name is {describe(value)}, not text", quoted)
        return ""
    name = value.text.strip()
    wrong = _explain_application(name)
    if wrong:
        problems.add(value.line, f"the name {shown(name)} {wrong}", hint)
    return name


def _explain_application(name: str) -> str:
    if not name:
        return "is empty"
    if is_placeholder(name):
        return "is a placeholder that was left in"
    if "/" in name or not name.isprintable():
        return "has a '/' or a control character: it becomes a folder"
    if name.startswith("."):
        return "begins with '.': it becomes a folder"
    if len(name) > LONGEST_APPLICATION or len(name.encode()) > 250:
        return f"is longer than {LONGEST_APPLICATION} characters"
    return ""
