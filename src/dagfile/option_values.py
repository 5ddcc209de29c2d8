"""Options that are a single value, and lists of words; each reader gives None after it noted a problem."""

import re
from collections.abc import Callable

from src.dagfile.problems import Problems, shown
from src.dagfile.values import Listing, Scalar, Value, describe, is_refused, number_of, plain_text
from src.quantities import SMALLEST_MEMORY, parse_cpu, parse_duration, parse_size

_PYTHON = r"3\.([0-9]{1,2})(\.[0-9]{1,2})?"
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?/)?"  # registry
    rf"{_PART}(?:/{_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,128})?"
)


def read_cpu(value: Value, where: str, problems: Problems) -> float | None:
    """Return a number of processors, at least 0.001 (Kubernetes knows no less)."""
    cpu = parse_cpu(_quantity(value))
    if cpu is not None and cpu >= 0.001:
        return cpu
    _refuse(value, where, problems, "is not a number of processors", "write a number such as 2, 0.5 or 500m")
    return None


def read_memory(value: Value, where: str, problems: Problems) -> int | None:
    """Return bytes, at least 6 MiB (engines refuse less)."""
    size = parse_size(_quantity(value))
    if size is None:
        _refuse(value, where, problems, "is not a size", "write a size such as 4Gi, 512Mi or 2G")
    elif size < SMALLEST_MEMORY:
        _refuse(value, where, problems, "is less than 6 MiB", "write it with a unit, such as 4Gi or 512Mi")
    else:
        return size
    return None


def read_timeout(value: Value, where: str, problems: Problems) -> float | None:
    """Return seconds, more than 0."""
    seconds = parse_duration(_quantity(value))
    if seconds is None:
        _refuse(value, where, problems, "is not a duration", "write one such as 30m, 1h30m, 90s or 90 (seconds)")
    elif seconds <= 0:
        _refuse(value, where, problems, "is no time at all", "leave the option out for no limit")
    else:
        return seconds
    return None


def count_reader(least: int, most: int) -> Callable[[Value, str, Problems], int | None]:
    """Return the reader of a whole number between least and most."""

    def read_count(value: Value, where: str, problems: Problems) -> int | None:
        number = number_of(value)
        if number is not None and number == int(number) and least <= number <= most:
            return int(number)
        wrong = f"is not a whole number from {least} to {most}"
        _refuse(value, where, problems, wrong, f"write a number such as {max(least, 2)}, without quotes")
        return None

    return read_count


def read_flag(value: Value, where: str, problems: Problems) -> bool | None:
    """Return true or false."""
    if isinstance(value, Scalar) and value.kind == "bool" and value.text.lower() in _FLAGS:
        return _FLAGS[value.text.lower()]
    _refuse(value, where, problems, "is neither true nor false", "write true or false, without quotes")
    return None


def read_python(value: Value, where: str, problems: Problems) -> str | None:
    """Return a version of Python such as 3.9 or 3.9.18; the launcher needs 3.8."""
    text = plain_text(value) or ""
    match = re.fullmatch(_PYTHON, text)
    if isinstance(value, Scalar) and value.kind in ("int", "float"):
        quoted = repr(text if match else "3.9")
        _refuse(value, where, problems, "is a number to YAML, where 3.10 is 3.1", f"write it in quotes: {quoted}")
    elif match is None or int(match[1]) < 8:
        _refuse(value, where, problems, "is not a Python from 3.8 on", "write a version such as '3.9' or '3.11.4'")
    else:
        return text
    return None


def read_base_image(value: Value, where: str, problems: Problems) -> str | None:
    """Return the reference of an image."""
    text = plain_text(value) or ""
    if len(text) <= 500 and re.fullmatch(_IMAGE, text):
        return text
    _refuse(value, where, problems, "is not an image", "write one such as python:3.9-slim or host:5000/name:tag")
    return None


def read_words(value: Value, where: str, problems: Problems) -> tuple[str, ...] | None:
    """Return a list of texts; numbers and the like are taken as written. Texts may be secret: none is shown."""
    if not isinstance(value, Listing):
        _refuse(value, where, problems, "is not a list", "write a list: ['-y', 'model.onnx']", show=False)
        return None
    words: list[str] = []
    for number, item in enumerate(value.items, 1):
        word = plain_text(item)
        if word is not None:
            words.append(word)
        elif not is_refused(item):
            problems.add(item.line, f"{where}: item {number} is {describe(item)}, not text", "write it in quotes")
    return tuple(words) if len(words) == len(value.items) else None


def read_command(value: Value, where: str, problems: Problems) -> tuple[str, ...] | None:
    """Return a command: a list of texts, the first of them not blank."""
    hint = "write a list: ['python', 'main.py']"
    if not isinstance(value, Listing):
        _refuse(value, where, problems, "is not a list", hint)
        return None
    words = read_words(value, where, problems)
    if words is not None and (not words or not words[0].strip()):
        problems.add(value.line, f"{where} names no program", hint)
        return None
    return words


def _quantity(value: Value) -> str:
    """Return the text of a number or of a text; of yes, dates and lists none."""
    return value.text.strip() if isinstance(value, Scalar) and value.kind in ("int", "float", "text") else ""


def _refuse(value: Value, where: str, problems: Problems, wrong: str, hint: str, *, show: bool = True) -> None:
    if is_refused(value):
        return
    text = plain_text(value) if show else None
    problems.add(value.line, f"{where} {wrong}: {describe(value) if text is None else shown(text)}", hint)
