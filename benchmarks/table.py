"""The table that run.py prints."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """A tool's medians in seconds, its ratio to the section's baseline, and a word on it."""

    name: str
    wall: float
    cpu: float
    ratio: float
    note: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """The rows of one measure, and what is aimed at."""

    title: str
    target: str
    rows: Sequence[Row]


def show(sections: Sequence[Section]) -> str:
    """Return the sections as one table of text."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} processors, load {load}",
        "",
        f"{'':<26}{'time':>10}{'processors':>12}{'ratio':>8}",
    ]
    for section in sections:
        lines += ["", f"{section.title} ({section.target})"]
        lines += [
            f"  {row.name:<24}{row.wall:>8.3f} s{row.cpu:>10.3f} s{row.ratio:>8.2f}  {row.note}".rstrip()
            for row in section.rows
        ]
    return "\n".join([*lines, ""])
