"""The problems of a DAG file, gathered so that all of them are told at once."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from src.errors import ConfigError

MOST_SHOWN = 100
"""Lines of one error; the rest is counted."""

MOST_GUESSES = 10
"""Near-misses looked for in a file: a look among 1000 names costs up to 40 ms."""


@dataclass(kw_only=True)
class Problems:
    """What is wrong in one file; the name of the file is what messages begin with."""

    file: str
    found: list[tuple[int, str, str]] = field(default_factory=list)  # line, what, hint
    remarks: list[tuple[int, str]] = field(default_factory=list)  # line, text
    guesses: int = 0

    def add(self, line: int, what: str, hint: str) -> None:
        """Note a problem: what is wrong, and what to write instead."""
        if (line, what, hint) not in self.found[-MOST_SHOWN:]:  # an alias brings the same value again
            self.found.append((line, what, hint))

    def warn(self, line: int, text: str) -> None:
        """Note something that is ignored."""
        self.remarks.append((line, text))

    def warnings(self) -> tuple[str, ...]:
        """Return the remarks by line, each as "file:line: text"."""
        return tuple(f"{self.file}:{line}: {text}" for line, text in sorted(self.remarks))

    def error(self) -> ConfigError:
        """Return one error with all problems, sorted by line."""
        found = sorted(self.found, key=lambda problem: problem[0])
        if len(found) == 1:
            line, what, hint = found[0]
            return ConfigError(f"{self.file}:{line}: {what}", hint=hint)
        details = [f"{self.file}:{line}: {what}; {hint}" for line, what, hint in found[:MOST_SHOWN]]
        if len(found) > MOST_SHOWN:
            details.append(f"{self.file}: and {len(found) - MOST_SHOWN} more")
        hint = "correct these lines, then give the same command again"
        return ConfigError(f"{self.file}: {len(found)} problems", hint=hint, details=tuple(details))

    def guess(self, word: str, known: Iterable[str], cutoff: float = 0.7) -> str:
        """Return the known word that word is a near-miss of; empty when there is none."""
        if self.guesses >= MOST_GUESSES or len(word) > 100:
            return ""
        self.guesses += 1
        return _nearest(word, known, cutoff)


def shown(text: str) -> str:
    """Return text quoted, on one line, shortened: fit for a message."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def is_placeholder(text: str) -> bool:
    """Say whether text is what a template leaves for the user to fill in."""
    text = text.strip()
    if text in ("...", "…") or "{{" in text or "}}" in text:
        return True
    return text.startswith("component-name") and re.fullmatch(r"component-name(-\d+)?", text) is not None


def _nearest(word: str, known: Iterable[str], cutoff: float) -> str:
    from difflib import get_close_matches  # only a file with mistakes needs it

    folded = word.lower().replace("-", "_")
    by_folded = {name.lower().replace("-", "_"): name for name in known}
    near = get_close_matches(folded, by_folded, 1, cutoff)
    if not near and len(folded) >= 3:
        near = [name for name in by_folded if folded in name]  # repo for repository, media for input_media
    return by_folded[near[0]] if len(near) == 1 else ""
