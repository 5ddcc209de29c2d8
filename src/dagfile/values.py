"""The values of a DAG file with their lines, free of the YAML library."""

import math
import re
from dataclasses import dataclass
from typing import ClassVar, Literal

Kind = Literal["text", "int", "float", "bool", "null", "date", "refused"]

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS: dict[Kind, str] = {
    "text": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false in YAML",
    "null": "empty",
    "date": "a date in YAML",
    "refused": "wrong",
}


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """A single value: its text as written, and what YAML takes it for; plain: without quotes.

    The kind "refused" stands where a problem was reported already: checks pass over it in silence.
    """

    kind: Kind
    text: str
    line: int
    plain: bool
    size: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A sequence; size counts it and all values in it, aliases expanded."""

    items: list["Value"]
    line: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Table:
    """A mapping; its keys are text as written, whatever YAML would take them for."""

    entries: dict[str, "Value"]
    key_lines: dict[str, int]
    line: int
    size: int

    def get(self, key: str) -> "Value | None":
        """Return the value of key; None where it is absent or null, which mean the same in a DAG file."""
        value = self.entries.get(key)
        return None if value is None or is_null(value) else value


Value = Scalar | Listing | Table


def is_null(value: Value) -> bool:
    """Say whether nothing is written where a value could stand."""
    return isinstance(value, Scalar) and value.kind == "null"


def is_refused(value: Value) -> bool:
    """Say whether a problem of this value was reported already."""
    return isinstance(value, Scalar) and value.kind == "refused"


def describe(value: Value) -> str:
    """Return what value is, in a word or two for a message."""
    if isinstance(value, Listing):
        return "a list"
    if isinstance(value, Table):
        return "a mapping"
    return _WORDS[value.kind]


def number_of(value: Value) -> float | None:
    """Return the finite decimal number that is written without quotes, else None (true, .nan, 0x1F, 1:30, '1')."""
    if not isinstance(value, Scalar) or not value.plain or _NUMBER.fullmatch(value.text) is None:
        return None  # by its text: YAML 1.1 takes 1e-3 for text, and 010 for 8
    number = float(value.text)
    return number if math.isfinite(number) else None


def plain_text(value: Value) -> str | None:
    """Return the text of any scalar that is not null: 3.10 and yes stay as written."""
    if not isinstance(value, Scalar) or value.kind in ("null", "refused"):
        return None
    return value.text
