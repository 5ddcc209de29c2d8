"""Random DAG files: what is valid comes back as written, and nothing at all raises anything but ConfigError."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.dag import load_dag, parse_dag
from src.errors import ConfigError
from src.names import RESERVED, safe_name
from tests.unit.dag_texts import FILE

DAGS = sorted((Path(__file__).parent / "data" / "dags").glob("*.yaml"))
quick = settings(deadline=None, database=None, max_examples=100)

component_names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,8}[A-Za-z0-9])?", fullmatch=True)
characters = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters="\0\x7f")
probabilities = st.floats(min_value=0, max_value=1, exclude_min=True, allow_subnormal=False) | st.just(1)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(component_names, min_size=1, max_size=15, unique_by=safe_name))
    names = [name for name in names if safe_name(name) not in RESERVED] or ["a"]
    pairs = [(a, b) for at, a in enumerate(names) for b in names[at + 1 :]]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=60)) if pairs else []
    edges = [[a, b, draw(probabilities)] if draw(st.booleans()) else [a, b] for a, b in chosen]
    env = st.dictionaries(st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), st.text(characters, max_size=9))
    table = {
        name: {"cpu": draw(st.integers(1, 64)), "env": draw(env)} for name in draw(st.sets(st.sampled_from(names)))
    }
    return {"name": "n", "components": draw(st.permutations(names)), "dependencies": edges, "options": table}


def write(system: dict[str, Any], style: str) -> str:
    if style == "json":
        return json.dumps({"System": system})  # JSON is YAML
    return yaml.safe_dump({"System": system}, default_flow_style=style == "flow", sort_keys=style == "flow")


@given(graphs(), st.sampled_from(["block", "flow", "json"]))
@quick
def test_what_is_valid_comes_back(system: dict[str, Any], style: str) -> None:
    dag = parse_dag(write(system, style), FILE)
    assert list(dag.components) == system["components"]
    assert [[e.parent, e.child, e.probability] for e in dag.edges] == [
        [*edge, 1.0][:3] for edge in system["dependencies"]
    ]
    assert {name: dict(options.env) for name, options in dag.options.items()} == {
        name: options["env"] for name, options in system["options"].items()
    }
    assert dag.warnings == ()


@given(graphs(), st.data())
@quick
def test_any_closed_circle_is_refused(system: dict[str, Any], data: st.DataObject) -> None:
    if not system["dependencies"]:
        return
    reachable = data.draw(st.sampled_from(system["dependencies"]))
    with pytest.raises(ConfigError, match=r"circle|depends on itself"):
        parse_dag(
            write(system | {"dependencies": [*system["dependencies"], [reachable[1], reachable[0]]]}, "flow"), FILE
        )


def check(text: str) -> None:
    """Expect a Dag, or one ConfigError whose lines each name the file, and say something."""
    error = None
    try:
        dag = parse_dag(text, FILE)
    except ConfigError as caught:
        error = caught
    if error is None:
        assert dag.name
        assert dag.components
        return
    lines = [error.message, error.hint, *error.details]
    assert all(lines)
    assert not any(c in line for line in lines for c in "\n\r\0")
    assert all(line.startswith("dag.yaml:") for line in (error.message, *error.details))


@given(st.text(), st.booleans())
@quick
def test_any_text(text: str, pure: bool) -> None:
    with without_libyaml() if pure else contextlib.nullcontext():
        check(text)


@given(
    st.text(st.sampled_from("[]{}:,-?&*!|>'\"%@`# \n\tSystem~<=.0e\\u\ud800\ufeff\x85\u2028é"), max_size=60),
    st.booleans(),
)
@quick
def test_texts_of_marks(text: str, pure: bool) -> None:
    with without_libyaml() if pure else contextlib.nullcontext():
        check(text)
        check(f"System:\n  name: n\n  components: [a]\n  dependencies: {text}")
        check(f"System:\n  name: {text}\n  options: {text}")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=8) | st.binary(max_size=4)
    | st.sampled_from(["a", "b", "...", "{{x}}", "https://h/x", "1h", "4Gi", "yes"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
keys = ("name", "repository", "revision", "input_media", "components", "dependencies", "options")
option_names = ("cpu", "memory", "gpu", "timeout", "retries", "env", "args", "secrets", "node_selector", "tolerations",
                "join", "optional", "copy_input", "shards", "python", "base_image", "command")  # fmt: skip


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(keys, values)) | values)
@quick
def test_any_values_below_the_known_keys(system: Any) -> None:
    check(yaml.safe_dump({"System": system}))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(option_names, values)))
@quick
def test_any_values_of_the_known_options(options: dict[str, Any]) -> None:
    check(yaml.safe_dump({"System": {"name": "n", "components": ["a"], "options": {"a": options}}}))


@given(st.sampled_from(DAGS), st.data())
@quick
def test_real_files_with_a_piece_replaced(path: Path, data: st.DataObject) -> None:
    text = path.read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    check(text[:start] + data.draw(st.text(max_size=6)) + text[end:])


@given(st.binary(max_size=200))
@settings(parent=quick, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dag.yaml"
    path.write_bytes(content)
    with contextlib.suppress(ConfigError):
        load_dag(path)


@contextlib.contextmanager
def without_libyaml() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("yaml.CSafeLoader")
        yield
