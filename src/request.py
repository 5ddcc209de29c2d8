"""What was asked for on the command line."""

from dataclasses import dataclass
from pathlib import Path

from src.dag import Dag
from src.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for on the command line."""

    dag: Dag
    settings: Settings
    output: Path
    target: str
    fresh: bool
    rebuild: bool
    dry_run: bool
    json: bool  # results are printed for a program to read
    live: bool  # there is a terminal that lines can be redrawn on
