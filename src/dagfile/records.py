"""What a DAG file says, as records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A dependency: child gets the outputs of parent; probability in (0, 1] is metadata."""

    parent: str
    child: str
    probability: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one component, checked; durations in seconds, memory in bytes."""

    cpu: float | None = None
    memory: int | None = None
    gpu: int = 0
    timeout: float | None = None
    retries: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # variable -> (secret, key)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    join: bool | None = None  # None: the file says nothing, which the plan remarks on a fan-in
    optional: bool = False
    copy_input: bool = False
    shards: int = 1
    python: str | None = None
    base_image: str | None = None
    command: tuple[str, ...] = ("python", "main.py")


@dataclass(frozen=True, kw_only=True)
class Dag:
    """A checked DAG file: acyclic, every name known, every option valid."""

    path: Path  # real path of the file
    name: str
    components: tuple[str, ...]  # as written, sorted by nothing
    edges: tuple[Edge, ...]
    repository: str | None = None
    revision: str | None = None
    media: tuple[Path, ...] = ()  # absolute, not looked at; empty when the file names none
    options: Mapping[str, Options] = field(default_factory=dict)  # of components that have some
    lines: Mapping[str, int] = field(default_factory=dict)  # component -> line of its name, for messages
    warnings: tuple[str, ...] = ()  # "file:line: text"

    def options_of(self, component: str) -> Options:
        """Return the options of a component, the defaults where the file gives none."""
        return self.options.get(component, Options())
