"""Cycles in the dependencies of a DAG file."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from src.dagfile.problems import Problems, shown

MOST_CYCLES = 10
"""Cycles shown at once."""


def note_cycles(lines: Mapping[tuple[str, str], int], problems: Problems) -> None:
    """Note cycles that share no component, each as a -> b -> a, at the line of its last edge."""
    from graphlib import CycleError, TopologicalSorter

    order = {edge: at for at, edge in enumerate(lines)}
    edges = set(lines)
    for _ in range(MOST_CYCLES):
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for parent, child in lines:
            if (parent, child) in edges:
                sorter.add(child, parent)
        try:
            sorter.prepare()
            return
        except CycleError as error:
            nodes = error.args[1]
        cycle = list(pairwise(nodes))
        first = min(range(len(cycle)), key=lambda at: order[cycle[at]])
        path = [parent for parent, _ in cycle[first:] + cycle[:first]]
        what = f"the dependencies go in a circle: {draw([*path, path[0]])}"
        problems.add(max(lines[edge] for edge in cycle), what, "remove one of these dependencies")
        shown_already = set(path)
        edges = {edge for edge in edges if shown_already.isdisjoint(edge)}


def draw(names: Sequence[str]) -> str:
    """Return names as `a -> b -> c`, a long row without its middle."""
    if len(names) > 12:
        names = [*names[:6], f"… ({len(names) - 10} more)", *names[-4:]]
    return " -> ".join(shown(name)[1:-1] for name in names)
