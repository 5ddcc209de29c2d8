"""Options that are mappings: variables, secrets, node selectors, tolerations; None after a problem was noted.

What Kubernetes would refuse (names, labels, tolerations) is refused here, before anything runs.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from src.dagfile.problems import Problems, shown
from src.dagfile.values import Listing, Table, Value, describe, is_refused, number_of, plain_text


class _Wrong(NamedTuple):
    what: str
    hint: str


_VARIABLE = r"[A-Za-z_][A-Za-z0-9_.-]*"
_REFERENCE = r"([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)/([A-Za-z0-9._-]{1,253})"
_LABEL_KEY = r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL_VALUE = r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"
_TOLERATION: Final = ("key", "operator", "value", "effect", "tolerationSeconds")
_OPERATORS: Final = ("Equal", "Exists")
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def read_env(value: Value, where: str, problems: Problems) -> dict[str, str] | None:
    """Return variables; numbers and the like are taken as written. Values may be secret: none is shown."""
    return _read_table(value, where, problems, _read_variable, "{NAME: value}")


def read_secrets(value: Value, where: str, problems: Problems) -> dict[str, tuple[str, str]] | None:
    """Return variable -> (name of a Kubernetes secret, key in it)."""
    return _read_table(value, where, problems, _read_secret, "{NAME: secret/key}")


def read_node_selector(value: Value, where: str, problems: Problems) -> dict[str, str] | None:
    """Return labels that a node must have."""
    return _read_table(value, where, problems, _read_label, "{label: value}")


def read_tolerations(value: Value, where: str, problems: Problems) -> tuple[dict[str, Any], ...] | None:
    """Return Kubernetes tolerations, with no key but those given."""
    if not isinstance(value, Listing):
        if not is_refused(value):
            problems.add(
                value.line, f"{where} is {describe(value)}, not a list", "write a list: [{key: gpu, operator: Exists}]"
            )
        return None
    found = [_read_toleration(item, where, problems) for item in value.items]
    return None if None in found else tuple(one for one in found if one is not None)


def _read_table(
    value: Value, where: str, problems: Problems, read: Callable[[str, Value], Any], example: str
) -> dict[str, Any] | None:
    if not isinstance(value, Table):
        if not is_refused(value):
            problems.add(value.line, f"{where} is {describe(value)}, not a mapping", f"write {example}")
        return None
    entries: dict[str, Any] = {}
    for key, item in value.entries.items():
        result = read(key, item)
        if not isinstance(result, _Wrong):
            entries[key] = result
        elif not is_refused(item):
            problems.add(value.key_lines[key], f"{where}: {shown(key)} {result.what}", result.hint)
    return entries if len(entries) == len(value.entries) else None


def _read_variable(name: str, value: Value) -> str | _Wrong:
    text = plain_text(value)
    if not re.fullmatch(_VARIABLE, name):
        return _Wrong("is not a name of a variable", "write letters, digits and '_' only, no digit first")
    if text is None:
        return _Wrong(f"is {describe(value)}, not text", "write a value in quotes, '' for an empty one")
    return text


def _read_secret(name: str, value: Value) -> tuple[str, str] | _Wrong:
    match = re.fullmatch(_REFERENCE, plain_text(value) or "")
    if not re.fullmatch(_VARIABLE, name):
        return _Wrong("is not a name of a variable", "write letters, digits and '_' only, no digit first")
    if match is None:
        hint = f"write {{{name}: secret/key}}; the value itself stays in the cluster"
        return _Wrong("does not name a secret and a key in it", hint)
    return match[1], match[2]


def _read_label(key: str, value: Value) -> str | _Wrong:
    text = plain_text(value)
    if not re.fullmatch(_LABEL_KEY, key):
        return _Wrong("is not a label of Kubernetes", "write one such as kubernetes.io/arch")
    if text is None or not re.fullmatch(_LABEL_VALUE, text):
        return _Wrong("has no value that a label can have", "write at most 63 letters, digits, '-', '_', '.'")
    return text


def _read_toleration(value: Value, where: str, problems: Problems) -> dict[str, Any] | None:
    if not isinstance(value, Table):
        if not is_refused(value):
            problems.add(
                value.line, f"{where}: a toleration is {describe(value)}", "write {key: gpu, operator: Exists}"
            )
        return None
    found: dict[str, Any] = {}
    before = len(problems.found)
    for key, item in value.entries.items():
        line = value.key_lines[key]
        if key not in _TOLERATION:
            near = problems.guess(key, _TOLERATION)
            problems.add(line, f"{where}: unknown key {shown(key)}", f"write {near or ', '.join(_TOLERATION)}")
        elif key == "tolerationSeconds":
            seconds = number_of(item)
            if seconds is None or seconds != int(seconds):
                problems.add(line, f"{where}: tolerationSeconds is not a whole number", "write seconds such as 300")
            else:
                found[key] = int(seconds)
        elif (text := plain_text(item)) is not None:
            found[key] = text
        elif not is_refused(item):
            problems.add(line, f"{where}: {key} is {describe(item)}, not text", "write a text, or leave it out")
    if len(problems.found) > before or any(is_refused(item) for item in value.entries.values()):
        return None
    wrong = _explain_toleration(found)
    for one in wrong:
        problems.add(value.line, f"{where}: {one.what}", one.hint)
    return None if wrong else found


def _explain_toleration(found: dict[str, Any]) -> list[_Wrong]:
    """Return what the Kubernetes API would refuse."""
    wrong: list[_Wrong] = []
    operator = found.get("operator") or "Equal"
    if operator not in _OPERATORS:
        wrong.append(_Wrong(f"operator {shown(operator)} is unknown", "write Equal or Exists"))
    if found.get("effect") and found["effect"] not in _EFFECTS:
        wrong.append(
            _Wrong(f"effect {shown(found['effect'])} is unknown", f"write {', '.join(_EFFECTS)}, or leave it out")
        )
    if found.get("key") and not re.fullmatch(_LABEL_KEY, found["key"]):
        wrong.append(_Wrong(f"key {shown(found['key'])} is not a name of a taint", "write one such as nvidia.com/gpu"))
    if not found.get("key") and operator != "Exists":
        wrong.append(
            _Wrong("a toleration without a key takes operator Exists only", "write operator: Exists, or a key")
        )
    if found.get("value") and operator == "Exists":
        wrong.append(_Wrong("operator Exists takes no value", "leave the value out, or write operator: Equal"))
    if not re.fullmatch(_LABEL_VALUE, found.get("value", "")):
        wrong.append(
            _Wrong("a toleration has a value that no taint can have", "write at most 63 letters, digits, '-', '_', '.'")
        )
    if "tolerationSeconds" in found and found.get("effect") != "NoExecute":
        wrong.append(_Wrong("tolerationSeconds needs effect NoExecute", "write effect: NoExecute, or leave it out"))
    return wrong
