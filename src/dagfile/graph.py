"""Components and dependencies of a DAG file."""

from collections.abc import Mapping

from src.dagfile.cycles import draw, note_cycles
from src.dagfile.problems import Problems, is_placeholder, shown
from src.dagfile.records import Edge
from src.dagfile.values import Listing, Scalar, Value, describe, is_refused, number_of
from src.names import explain_bad_name, safe_name

_EDGE_HINT = "write ['from', 'to', 1]"


def read_components(value: Value | None, line: int, problems: Problems) -> dict[str, int]:
    """Return the names in the order of the file, each with its line.

    line: of the key. A refused name is in the answer too, so that nothing else calls it unknown.
    """
    lines: dict[str, int] = {}
    safe: dict[str, str] = {}
    if value is None or (isinstance(value, Listing) and not value.items):
        problems.add(line, "components names none: there is nothing to run", "write components: ['a', 'b']")
        return {}
    if not isinstance(value, Listing):
        if not is_refused(value):
            problems.add(value.line, f"components is {describe(value)}, not a list", "write components: ['a', 'b']")
        return {}
    for number, item in enumerate(value.items, 1):
        name = _read_name(item, f"component {number}", problems)
        if name is None:
            continue
        if name in lines:
            what = f"component {shown(name)} is listed twice (first on line {lines[name]})"
            problems.add(item.line, what, "remove one of them")
            continue
        lines[name] = item.line
        wrong = explain_bad_name(name)
        if is_placeholder(name):
            problems.add(item.line, f"the placeholder {shown(name)} was left in", "write the name of a component")
        elif wrong:
            problems.add(item.line, f"the component name {shown(name)} {wrong}", _name_another(name))
        elif other := safe.get(safe_name(name)):
            what = f"{shown(name)} and {shown(other)} (line {lines[other]}) are both {safe_name(name)} to Kubernetes"
            problems.add(item.line, what, "rename one of them")
        else:
            safe[safe_name(name)] = name
    return lines


def _name_another(name: str) -> str:
    safe = safe_name(name[:40])
    if explain_bad_name(safe) or not name.strip():
        return "give the component another name"
    return f"rename the component, to {safe} for example"


def read_edges(value: Value | None, components: Mapping[str, int], problems: Problems) -> tuple[Edge, ...]:
    """Return the dependencies in the order of the file; none when the file has none.

    components: the names in the file's list, empty when there is none to compare with.
    """
    if value is None or is_refused(value):
        return ()
    if not isinstance(value, Listing):
        what = f"dependencies is {describe(value)}, not a list"
        problems.add(value.line, what, "write dependencies: [['a', 'b', 1]]")
        return ()
    lines: dict[tuple[str, str], int] = {}
    edges = []
    for item in value.items:
        edge = _read_edge(item, components, problems)
        if edge is None:
            continue
        pair = edge.parent, edge.child
        arrow = draw(pair)
        if edge.parent == edge.child:
            problems.add(item.line, f"component {shown(edge.parent)} depends on itself", "remove this dependency")
        elif pair in lines:
            what = f"the dependency {arrow} is listed twice (first on line {lines[pair]})"
            problems.add(item.line, what, "remove one of them")
        else:
            lines[pair] = item.line
            edges.append(edge)
    note_cycles(lines, problems)
    return tuple(edges)


def _read_edge(value: Value, components: Mapping[str, int], problems: Problems) -> Edge | None:
    if is_refused(value):
        return None
    if not isinstance(value, Listing) or len(value.items) not in (2, 3):
        if isinstance(value, Scalar) and is_placeholder(value.text):
            what = f"the placeholder {shown(value.text)} was left in"
        elif isinstance(value, Listing):
            what = f"a dependency has {len(value.items)} entries, not two or three"
        else:
            what = f"a dependency is {describe(value)}, not a list of two or three"
        problems.add(value.line, what, _EDGE_HINT)
        return None
    names = [_read_name(item, "a name in a dependency", problems) for item in value.items[:2]]
    for name, item in zip(names, value.items, strict=False):
        if name is not None and components and name not in components:
            if is_placeholder(name):
                problems.add(item.line, f"the placeholder {shown(name)} was left in", "write the name of a component")
                continue
            near = problems.guess(name, components)
            hint = f"write {shown(near)}" if near else "write a name from components, or add it there"
            problems.add(item.line, f"the dependency names {shown(name)}, which is not in components", hint)
    probability = _read_probability(value.items[2], problems) if len(value.items) == 3 else 1.0
    if names[0] is None or names[1] is None or probability is None:
        return None
    return Edge(parent=names[0], child=names[1], probability=probability)


def _read_probability(value: Value, problems: Problems) -> float | None:
    number = number_of(value)
    if number is not None and 0 < number <= 1:
        return number
    if not is_refused(value):
        text = shown(value.text) if isinstance(value, Scalar) else describe(value)
        what = f"the probability {text} is not a number above 0 and up to 1"
        problems.add(value.line, what, "write a number such as 1 or 0.6, without quotes")
    return None


def _read_name(value: Value, where: str, problems: Problems) -> str | None:
    if isinstance(value, Scalar) and value.kind == "text":
        return value.text
    if isinstance(value, Scalar) and value.kind in ("int", "float", "bool", "date"):
        what = f"{where} is {describe(value)}, not a name: {shown(value.text)}"
        problems.add(value.line, what, f"write it in quotes: {shown(value.text)}")
    elif not is_refused(value):
        problems.add(value.line, f"{where} is {describe(value)}, not a name", "write a name in quotes")
    return None
