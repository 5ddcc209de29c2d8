"""Builds the values of a DAG file from a stream of YAML events, without recursion; free of the YAML library."""

from dataclasses import dataclass, field
from typing import Final

from src.dagfile.problems import Problems, shown
from src.dagfile.syntax import TOO_DEEP, TOO_DEEP_HINT
from src.dagfile.values import Kind, Listing, Scalar, Table, Value

DEEPEST: Final = 50
MOST_ALIASED: Final = 100_000

_KINDS: Final[dict[str, Kind]] = {
    "str": "text",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "null": "null",
    "timestamp": "date",
    "merge": "text",
    "value": "text",
}


class UnreadableError(Exception):
    """The text cannot be read further; the problem was noted."""


@dataclass(kw_only=True)
class _Open:
    """A sequence or mapping that is not closed yet; a mapping's keys and values alternate in items."""

    line: int
    anchor: str | None
    mapping: bool
    items: list[Value] = field(default_factory=list)


class Tree:
    """One value that grows by events; its methods raise UnreadableError where going on makes no sense."""

    def __init__(self, problems: Problems) -> None:
        self.root: Value | None = None
        self._problems = problems
        self._open: list[_Open] = []
        self._anchors: dict[str, Value] = {}
        self._aliased = 0

    def give_up(self, line: int, what: str, hint: str) -> None:
        """Note a problem and raise UnreadableError."""
        self._problems.add(line, what, hint)
        raise UnreadableError

    def begin(self, tag: str, line: int, *, mapping: bool, anchor: str | None) -> None:
        """Open a sequence or a mapping; tag: empty where none is written, YAML's own without their prefix."""
        if len(self._open) >= DEEPEST:
            self.give_up(line, TOO_DEEP, TOO_DEEP_HINT)
        if tag not in ("", "!", "map" if mapping else "seq"):
            self._problems.add(line, f"the YAML tag {shown(tag)} is not supported", "remove it")
        self._open.append(_Open(line=line, anchor=anchor, mapping=mapping))

    def end(self) -> None:
        """Close the sequence or mapping that was opened last."""
        closed = self._open.pop()
        size = 1 + sum(value.size for value in closed.items)
        if closed.mapping:
            self._add(self._table(closed, size), closed.anchor)
        else:
            self._add(Listing(items=closed.items, line=closed.line, size=size), closed.anchor)

    def scalar(self, tag: str, text: str, line: int, *, plain: bool, anchor: str | None) -> None:
        """Add a scalar; tag: YAML's own without their prefix; plain: written without quotes."""
        kind = _KINDS.get(tag)
        if kind is None:
            self._problems.add(line, f"the YAML tag {shown(tag)} is not supported", "remove it")
            kind = "refused"
        elif not text.isprintable() and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
            self._problems.add(line, "a value has a character that no file name or variable can have", "remove it")
            kind = "refused"
        self._add(Scalar(kind=kind, text=text, line=line, plain=plain), anchor)

    def alias(self, anchor: str, line: int) -> None:
        """Add the value that was given a name above; what aliases expand to is counted, not made."""
        if any(one.anchor == anchor for one in self._open):
            self.give_up(line, f"the alias {shown(anchor)} is inside of what it stands for", "write the value out")
        if anchor not in self._anchors:
            self.give_up(
                line,
                f"nothing above is named &{shown(anchor)[1:-1]}",
                "write the value out; put a text with '*' in quotes",
            )
        self._aliased += self._anchors[anchor].size
        if self._aliased > MOST_ALIASED:
            self.give_up(line, f"aliases expand to more than {MOST_ALIASED:,} values", "write the values out")
        self._add(self._anchors[anchor], None)

    def _add(self, value: Value, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = value
        if self._open:
            self._open[-1].items.append(value)
        else:
            self.root = value

    def _table(self, closed: _Open, size: int) -> Value:
        entries: dict[str, Value] = {}
        lines: dict[str, int] = {}
        merged: list[Value] = []
        for key, value in zip(closed.items[::2], closed.items[1::2], strict=True):
            if not isinstance(key, Scalar):
                return self._refuse_key(key, closed)
            if key.text == "<<" and isinstance(value, (Table, Listing)):
                merged += value.items if isinstance(value, Listing) else [value]
            elif key.text in entries:
                what = f"the key {shown(key.text)} is written twice (first on line {lines[key.text]})"
                self._problems.add(key.line, what, "remove one of them")
            else:
                entries[key.text], lines[key.text] = value, key.line
        for other in merged:
            if isinstance(other, Table):
                entries = {**other.entries, **entries}
                lines = {**other.key_lines, **lines}
            else:
                self._problems.add(other.line, "'<<' takes mappings only", "write a mapping or an alias of one")
        return Table(entries=entries, key_lines=lines, line=closed.line, size=size)

    def _refuse_key(self, key: Listing | Table, closed: _Open) -> Scalar:
        if isinstance(key, Table) and len(closed.items) == 2 and len(key.entries) == 1:
            what = f"the placeholder {shown('{{' + next(iter(key.entries)) + '}}')} was left in"
            self._problems.add(key.line, what, "write a value of your own")
        else:
            self._problems.add(
                key.line, "a key is a list or a mapping", "write a word; put one with brackets in quotes"
            )
        return Scalar(kind="refused", text="", line=closed.line, plain=True)
