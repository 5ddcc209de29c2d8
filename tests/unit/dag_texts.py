"""Texts of DAG files for tests, and what is said about them."""

from pathlib import Path

import pytest

from src.dag import Dag, parse_dag
from src.errors import ConfigError

FILE = Path("/apps/demo/dag.yaml")
VALID = "name: demo\ncomponents: [a, b]\ndependencies: [[a, b]]"


def system(body: str) -> str:
    """Return the text of a file with body below System: line 1 of body is line 2 of the file."""
    return "System:\n" + "".join(f"  {line}\n" for line in body.splitlines())


def parse(body: str) -> Dag:
    return parse_dag(system(body), FILE)


def problems_of(text: str) -> list[str]:
    """Return "line: what; hint" for each problem that the text is refused for."""
    with pytest.raises(ConfigError) as caught:
        parse_dag(text, FILE)
    error = caught.value
    assert error.status == 2
    if not error.details:
        assert error.hint
        return [f"{error.message}; {error.hint}".removeprefix("dag.yaml:")]
    assert error.message == f"dag.yaml: {len(error.details)} problems"
    lines = [line.removeprefix("dag.yaml:") for line in error.details]
    numbers = [int(line.partition(":")[0]) for line in lines]
    assert numbers == sorted(numbers)
    return lines
