"""Options of components: each one right, and each one wrong."""

from typing import Any

import pytest

from src.dag import Options
from src.dagfile.options import READERS
from tests.unit.dag_texts import VALID, parse, problems_of, system


def options(written: str) -> Options:
    return parse(f"{VALID}\noptions:\n  a: {written}").options_of("a")


def refusal(written: str) -> list[str]:
    return problems_of(system(f"{VALID}\noptions:\n  a: {written}"))


def test_every_field_has_a_reader() -> None:
    assert sorted(READERS) == sorted(Options.__dataclass_fields__)


def test_the_example_of_the_design() -> None:
    written = (
        "{cpu: 2, memory: 4Gi, gpu: 1, timeout: 30m, retries: 2, env: {K: V}, args: ['-y', 'm.onnx'], "
        "secrets: {S: secret/key}, node_selector: {k: v}, tolerations: [{key: t, operator: Exists}], "
        "join: true, optional: true, copy_input: true, python: '3.9', base_image: 'x', command: ['python', 'main.py']}"
    )
    assert options(written) == Options(
        cpu=2.0,
        memory=4 * 2**30,
        gpu=1,
        timeout=1800.0,
        retries=2,
        env={"K": "V"},
        args=("-y", "m.onnx"),
        secrets={"S": ("secret", "key")},
        node_selector={"k": "v"},
        tolerations=({"key": "t", "operator": "Exists"},),
        join=True,
        optional=True,
        copy_input=True,
        python="3.9",
        base_image="x",
        command=("python", "main.py"),
    )
    assert options("{shards: 4}").shards == 4


def test_null_is_the_same_as_absent() -> None:
    assert options("{" + ", ".join(f"{name}: null" for name in READERS) + "}") == Options()
    assert parse(f"{VALID}\noptions:\n  a:\n  b: {{}}").options == {}


ACCEPTED: list[tuple[str, str, Any]] = [
    ("cpu", "2", 2.0),
    ("cpu", "0.5", 0.5),
    ("cpu", "'2'", 2.0),
    ("cpu", "500m", 0.5),
    ("cpu", "1m", 0.001),
    ("memory", "4Gi", 4 * 2**30),
    ("memory", "512Mi", 512 * 2**20),
    ("memory", "2G", 2 * 10**9),
    ("memory", "1.5Gi", 3 * 2**29),
    ("memory", "6144Ki", 6 * 2**20),
    ("memory", "8000000", 8_000_000),
    ("memory", "'8000k'", 8_000_000),
    ("memory", "1Ti", 2**40),
    ("gpu", "0", 0),
    ("gpu", "8", 8),
    ("timeout", "30m", 1800.0),
    ("timeout", "1h30m", 5400.0),
    ("timeout", "90s", 90.0),
    ("timeout", "90", 90.0),
    ("timeout", "0.5", 0.5),
    ("timeout", "1.5h", 5400.0),
    ("timeout", "1d2h3m4.5s", 93784.5),
    ("retries", "0", 0),
    ("retries", "3", 3),
    ("env", "{A: b, C_1: 1, D: 3.10, E: yes, F: '', G.h-i: 2024-01-01, H: 'x y'}", "as written"),
    ("args", "[]", ()),
    ("args", "[-y, 'm.onnx', 5, 3.10, true, '']", ("-y", "m.onnx", "5", "3.10", "true", "")),
    ("secrets", "{TOKEN: my-secret.x/Key_1.txt}", {"TOKEN": ("my-secret.x", "Key_1.txt")}),
    (
        "node_selector",
        "{nvidia.com/gpu.present: true, zone: a, empty: ''}",
        {"nvidia.com/gpu.present": "true", "zone": "a", "empty": ""},
    ),
    ("tolerations", "[]", ()),
    ("tolerations", "[{operator: Exists}]", ({"operator": "Exists"},)),
    (
        "tolerations",
        "[{key: gpu, value: 1, effect: NoExecute, tolerationSeconds: 60}]",
        ({"key": "gpu", "value": "1", "effect": "NoExecute", "tolerationSeconds": 60},),
    ),
    ("join", "true", True),
    ("join", "no", False),
    ("optional", "on", True),
    ("copy_input", "False", False),
    ("shards", "1", 1),
    ("shards", "1000", 1000),
    ("python", "'3.8'", "3.8"),
    ("python", "'3.10'", "3.10"),
    ("python", "3.11.4", "3.11.4"),
    ("base_image", "python:3.9-slim", "python:3.9-slim"),
    ("base_image", "Host.example:5000/a/b_c:Tag-1", "Host.example:5000/a/b_c:Tag-1"),
    ("base_image", f"a/b@sha256:{'0' * 64}", f"a/b@sha256:{'0' * 64}"),
    ("command", "[python3, -u, main.py]", ("python3", "-u", "main.py")),
]


@pytest.mark.parametrize(("option", "written", "value"), ACCEPTED)
def test_accepted(option: str, written: str, value: Any) -> None:
    if value == "as written":
        value = {"A": "b", "C_1": "1", "D": "3.10", "E": "yes", "F": "", "G.h-i": "2024-01-01", "H": "x y"}
    read = getattr(options(f"{{{option}: {written}}}"), option)
    assert read == value
    assert type(read) is type(value)


CPU = "write a number such as 2, 0.5 or 500m"
SIZE = "write a size such as 4Gi, 512Mi or 2G"
UNIT = "write it with a unit, such as 4Gi or 512Mi"
DURATION = "write one such as 30m, 1h30m, 90s or 90 (seconds)"
FLAG = "write true or false, without quotes"
COUNT = "write a number such as 2, without quotes"
PYTHON = "write a version such as '3.9' or '3.11.4'"
IMAGE = "write one such as python:3.9-slim or host:5000/name:tag"
VARIABLE = "write letters, digits and '_' only, no digit first"
COMMAND = "write a list: ['python', 'main.py']"
LABEL = "write at most 63 letters, digits, '-', '_', '.'"
KEYS = "key, operator, value, effect, tolerationSeconds"
HIDDEN = "the value itself stays in the cluster"

REFUSED = {
    "cpu: lots": f"cpu of 'a' is not a number of processors: 'lots'; {CPU}",
    "cpu: 0": f"cpu of 'a' is not a number of processors: '0'; {CPU}",
    "cpu: -1": f"cpu of 'a' is not a number of processors: '-1'; {CPU}",
    "cpu: true": f"cpu of 'a' is not a number of processors: 'true'; {CPU}",
    "cpu: .nan": f"cpu of 'a' is not a number of processors: '.nan'; {CPU}",
    "cpu: 1e999": f"cpu of 'a' is not a number of processors: '1e999'; {CPU}",
    "cpu: [2]": f"cpu of 'a' is not a number of processors: a list; {CPU}",
    "memory: 4gb": f"memory of 'a' is not a size: '4gb'; {SIZE}",
    "memory: 512m": f"memory of 'a' is not a size: '512m'; {SIZE}",
    "memory: {}": f"memory of 'a' is not a size: a mapping; {SIZE}",
    "memory: -4Gi": f"memory of 'a' is not a size: '-4Gi'; {SIZE}",
    f"memory: {'9' * 5000}": f"memory of 'a' is not a size: '{'9' * 57}...'; {SIZE}",
    "memory: 4": f"memory of 'a' is less than 6 MiB: '4'; {UNIT}",
    "memory: 5Mi": f"memory of 'a' is less than 6 MiB: '5Mi'; {UNIT}",
    "gpu: 0.5": f"gpu of 'a' is not a whole number from 0 to 1000: '0.5'; {COUNT}",
    "gpu: -1": f"gpu of 'a' is not a whole number from 0 to 1000: '-1'; {COUNT}",
    "gpu: true": f"gpu of 'a' is not a whole number from 0 to 1000: 'true'; {COUNT}",
    "gpu: '1'": f"gpu of 'a' is not a whole number from 0 to 1000: '1'; {COUNT}",
    "timeout: soon": f"timeout of 'a' is not a duration: 'soon'; {DURATION}",
    "timeout: 1:30": f"timeout of 'a' is not a duration: '1:30'; {DURATION}",
    "timeout: 30m1h": f"timeout of 'a' is not a duration: '30m1h'; {DURATION}",
    "timeout: ''": f"timeout of 'a' is not a duration: ''; {DURATION}",
    "timeout: no": f"timeout of 'a' is not a duration: 'no'; {DURATION}",
    "timeout: 0": "timeout of 'a' is no time at all: '0'; leave the option out for no limit",
    "retries: many": f"retries of 'a' is not a whole number from 0 to 1000: 'many'; {COUNT}",
    f"retries: {'9' * 5000}": f"retries of 'a' is not a whole number from 0 to 1000: '{'9' * 57}...'; {COUNT}",
    "shards: 0": f"shards of 'a' is not a whole number from 1 to 1000: '0'; {COUNT}",
    "shards: 1001": f"shards of 'a' is not a whole number from 1 to 1000: '1001'; {COUNT}",
    "env: [a]": "env of 'a' is a list, not a mapping; write {NAME: value}",
    "env: A=hunter2": "env of 'a' is text, not a mapping; write {NAME: value}",
    "env: {1A: hunter2}": f"env of 'a': '1A' is not a name of a variable; {VARIABLE}",
    "env: {'A=B': hunter2}": f"env of 'a': 'A=B' is not a name of a variable; {VARIABLE}",
    "env: {A: }": "env of 'a': 'A' is empty, not text; write a value in quotes, '' for an empty one",
    "env: {A: [hunter2]}": "env of 'a': 'A' is a list, not text; write a value in quotes, '' for an empty one",
    "args: -y hunter2": "args of 'a' is not a list: text; write a list: ['-y', 'model.onnx']",
    "args: [a, ~]": "args of 'a': item 2 is empty, not text; write it in quotes",
    "args: [[hunter2]]": "args of 'a': item 1 is a list, not text; write it in quotes",
    "secrets: {A: hunter2}": (
        f"secrets of 'a': 'A' does not name a secret and a key in it; write {{A: secret/key}}; {HIDDEN}"
    ),
    "secrets: {A: a/b/c}": (
        f"secrets of 'a': 'A' does not name a secret and a key in it; write {{A: secret/key}}; {HIDDEN}"
    ),
    "secrets: {A: [x]}": (
        f"secrets of 'a': 'A' does not name a secret and a key in it; write {{A: secret/key}}; {HIDDEN}"
    ),
    "secrets: {A-: a/b, 1: a/b}": f"secrets of 'a': '1' is not a name of a variable; {VARIABLE}",
    "node_selector: x": "node_selector of 'a' is text, not a mapping; write {label: value}",
    "node_selector: {a b: c}": (
        "node_selector of 'a': 'a b' is not a label of Kubernetes; write one such as kubernetes.io/arch"
    ),
    "node_selector: {a: 'b c'}": f"node_selector of 'a': 'a' has no value that a label can have; {LABEL}",
    "node_selector: {a: }": f"node_selector of 'a': 'a' has no value that a label can have; {LABEL}",
    "tolerations: {key: a}": (
        "tolerations of 'a' is a mapping, not a list; write a list: [{key: gpu, operator: Exists}]"
    ),
    "tolerations: [gpu]": "tolerations of 'a': a toleration is text; write {key: gpu, operator: Exists}",
    "tolerations: [{key: a, efect: NoExecute}]": "tolerations of 'a': unknown key 'efect'; write effect",
    "tolerations: [{key: a, zzz: 1}]": f"tolerations of 'a': unknown key 'zzz'; write {KEYS}",
    "tolerations: [{key: a, operator: In}]": "tolerations of 'a': operator 'In' is unknown; write Equal or Exists",
    "tolerations: [{key: a, effect: NoRun}]": (
        "tolerations of 'a': effect 'NoRun' is unknown; write NoSchedule, PreferNoSchedule, NoExecute, or leave it out"
    ),
    "tolerations: [{key: 'a b'}]": (
        "tolerations of 'a': key 'a b' is not a name of a taint; write one such as nvidia.com/gpu"
    ),
    "tolerations: [{value: x}]": (
        "tolerations of 'a': a toleration without a key takes operator Exists only; write operator: Exists, or a key"
    ),
    "tolerations: [{key: a, operator: Exists, value: x}]": (
        "tolerations of 'a': operator Exists takes no value; leave the value out, or write operator: Equal"
    ),
    "tolerations: [{key: a, value: 'x y'}]": (
        f"tolerations of 'a': a toleration has a value that no taint can have; {LABEL}"
    ),
    "tolerations: [{key: a, value: [x]}]": (
        "tolerations of 'a': value is a list, not text; write a text, or leave it out"
    ),
    "tolerations: [{key: a, tolerationSeconds: 5}]": (
        "tolerations of 'a': tolerationSeconds needs effect NoExecute; write effect: NoExecute, or leave it out"
    ),
    "tolerations: [{key: a, effect: NoExecute, tolerationSeconds: 5m}]": (
        "tolerations of 'a': tolerationSeconds is not a whole number; write seconds such as 300"
    ),
    "join: 'true'": f"join of 'a' is neither true nor false: 'true'; {FLAG}",
    "optional: 1": f"optional of 'a' is neither true nor false: '1'; {FLAG}",
    "copy_input: maybe": f"copy_input of 'a' is neither true nor false: 'maybe'; {FLAG}",
    "copy_input: []": f"copy_input of 'a' is neither true nor false: a list; {FLAG}",
    "python: 3.10": "python of 'a' is a number to YAML, where 3.10 is 3.1: '3.10'; write it in quotes: '3.10'",
    "python: 3": "python of 'a' is a number to YAML, where 3.10 is 3.1: '3'; write it in quotes: '3.9'",
    "python: '3.7'": f"python of 'a' is not a Python from 3.8 on: '3.7'; {PYTHON}",
    "python: '2.7'": f"python of 'a' is not a Python from 3.8 on: '2.7'; {PYTHON}",
    "python: latest": f"python of 'a' is not a Python from 3.8 on: 'latest'; {PYTHON}",
    "base_image: a b": f"base_image of 'a' is not an image: 'a b'; {IMAGE}",
    "base_image: Python:3.9": f"base_image of 'a' is not an image: 'Python:3.9'; {IMAGE}",
    "base_image: -x": f"base_image of 'a' is not an image: '-x'; {IMAGE}",
    "base_image: ''": f"base_image of 'a' is not an image: ''; {IMAGE}",
    'base_image: "a\\nRUN x"': f"base_image of 'a' is not an image: 'a\\nRUN x'; {IMAGE}",
    "base_image: '{{x}}'": f"base_image of 'a' is not an image: '{{{{x}}}}'; {IMAGE}",
    "command: python main.py": f"command of 'a' is not a list: 'python main.py'; {COMMAND}",
    "command: []": f"command of 'a' names no program; {COMMAND}",
    "command: [' ']": f"command of 'a' names no program; {COMMAND}",
    "command: [python, ~]": "command of 'a': item 2 is empty, not text; write it in quotes",
    "retires: 2": "unknown option 'retires' of 'a'; write retries",
    "nodeSelector: {}": "unknown option 'nodeSelector' of 'a'; write node_selector",
    "mem: 4Gi": "unknown option 'mem' of 'a'; write memory",
    "zzz: 1": f"unknown option 'zzz' of 'a'; known are {', '.join(READERS)}",
    "join: true, shards: 2": "join and shards of 'a' exclude each other: a join runs once; leave one of them out",
    "env: {A: b}, secrets: {A: s/k}": "'A' of 'a' is in env and in secrets; leave one of them out",
    "cpu: {{x}}": "the placeholder '{{x}}' was left in; write a value of your own",
    "env: {A: {{x}}}": "the placeholder '{{x}}' was left in; write a value of your own",
    "args: [{{x}}]": "the placeholder '{{x}}' was left in; write a value of your own",
    "env: {{x}, a: b}": "a key is a list or a mapping; write a word; put one with brackets in quotes",
    "tolerations: {{x}}": "the placeholder '{{x}}' was left in; write a value of your own",
    "tolerations: [{{x}}]": "the placeholder '{{x}}' was left in; write a value of your own",
    "tolerations: [{key: {{x}}}]": "the placeholder '{{x}}' was left in; write a value of your own",
    "secrets: {{x}}": "the placeholder '{{x}}' was left in; write a value of your own",
}


@pytest.mark.parametrize("written", REFUSED)
def test_refused(written: str) -> None:
    lines = refusal(f"{{{written}}}")
    assert lines == [f"6: {REFUSED[written]}"]
    assert "hunter2" not in lines[0]


WHOLE: dict[str, str | list[str]] = {
    "[a]": "5: options is a list, not a mapping; write options: {component: {cpu: 2}}",
    "{a: 3}": "5: the options of 'a' are a number, not a mapping; write 'a': {cpu: 2}",
    '{"\\n": 3}': [
        "5: options for '\\n', which is not in components; write a name from components, or add it there",
        "5: the options of '\\n' are a number, not a mapping; write '\\n': {cpu: 2}",
    ],
    "{B: {cpu: 1}}": "5: options for 'B', which is not in components; write 'b'",
    "{zzz: {cpu: 1}}": (
        "5: options for 'zzz', which is not in components; write a name from components, or add it there"
    ),
    "{save-media: {cpu: 1}}": (
        "5: options for 'save-media', which is not in components; write a name from components, or add it there"
    ),
}


@pytest.mark.parametrize("written", WHOLE)
def test_the_whole_of_the_options(written: str) -> None:
    said = WHOLE[written]
    assert problems_of(system(f"{VALID}\noptions: {written}")) == ([said] if isinstance(said, str) else said)


def test_problems_of_several_lines() -> None:
    body = f"{VALID}\noptions:\n  a:\n    cpu: x\n    env:\n      A: b\n      '?': c\n      '!': d\n  b:\n    join: 1"
    assert [line.partition(":")[0] for line in problems_of(system(body))] == ["7", "10", "11", "13"]
