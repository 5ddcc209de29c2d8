"""Random graphs: each step gets exactly its parents' files, by content; compared with a model that is ours alone.

A component writes, as the first line of each output, the sha256 of its own name, the lineage of its input and the
output's number: so a file's lineage says all that went into it. The second line is the name that its input had.
The model computes the lineages from the graph alone; it knows nothing of names, folders, keys or journals.
"""

import collections
import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
from hypothesis import strategies as st

from tests.support import Project, read_record

MOST_COMPONENTS = 15
MOST_PARENTS = 11
MOST_INVOCATIONS = 10  # of a step; one with more inputs is made a join

SCRIPT = r"""
sum() { set -- $(printf "$@" | sha256sum); printf %s "$1"; }
read_lineage() { case $1 in *.tar.gz) tar -xzOf "$1" lineage | head -1;; *) read -r line < "$1"; echo "$line";; esac; }
if [ -d "$in" ]; then
    base=$(sum '%s' "$(find "$in" -type f | while read -r file; do read_lineage "$file"; done | sort)")
else
    base=$(read_lineage "$in")
fi
echo scratch > "$(dirname "$out")/scratch.tmp"; echo scratch > note.txt; echo scratch > "$(dirname "$in")/beside"
write() { printf '%s\n%s\n' "$(sum '%s %s %s' NAME "$base" "$1")" "$(basename "$in")" > "$2"; }
"""
TAILS = {
    "one": 'write 0 "$out"',
    "extension": 'write 0 "$out.jpg"',
    "three": 'write 0 "${out}_0.mp4"; write 1 "${out}_1.mp4"; write 2 "$out-2.mp4"',
    "archive": (
        'write 0 lineage; echo more > more; tar -czf "$out.tar.gz" lineage more; echo not an output > "${out}_0.mp4"'
    ),
    "some": 'number=$(printf %d "0x$(echo "$base" | cut -c1)"); number=$((number % 3)); '
    'while [ $number -gt 0 ]; do number=$((number - 1)); write $number "${out}_$number.bin"; done',
    "none": ":",
    "broken": 'write 0 "$out"; exit 3',
}
"""What a component does; "some" writes 0 to 2 files, as its input's lineage says."""

WEIGHTS = ["one"] * 3 + ["extension", "three", "three", "archive", "archive", "some", "some", "none"]


@dataclass(frozen=True)
class Graph:
    """A graph as the test draws it; edges as the file has them, each with its probability."""

    names: tuple[str, ...]
    edges: tuple[tuple[str, str, float], ...]
    kinds: Mapping[str, str]
    optional: frozenset[str]
    joins: frozenset[str]
    shards: Mapping[str, int]
    media: tuple[str, ...]

    def parents(self, name: str) -> list[str]:
        return [parent for parent, child, _ in self.edges if child == name]

    def children(self, name: str) -> list[str]:
        return [child for parent, child, _ in self.edges if parent == name]


def lineage(*parts: object) -> str:
    return hashlib.sha256(" ".join(str(part) for part in parts).encode()).hexdigest()


# --- The model ---


@dataclass
class Expected:
    """What a step must come to: its state, and the lineages of its outputs."""

    state: str
    outputs: list[str]


def written(kind: str, name: str, base: str) -> list[str]:
    count = {"three": 3, "some": int(base[0], 16) % 3, "none": 0}.get(kind, 1)
    return [lineage(name, base, number) for number in range(count)]


def expect(graph: Graph, name: str, inputs: Sequence[str]) -> Expected:
    """Run a step in the mind: once for each input, or once with all of them."""
    bases = list(inputs)
    if name in graph.joins and inputs:
        bases = [hashlib.sha256("\n".join(sorted(inputs)).encode()).hexdigest()]
    if bases and graph.kinds[name] == "broken":
        return Expected("failed", [])
    outputs = [written(graph.kinds[name], name, base) for base in bases]
    shares = [share for parent, _, share in graph.edges if parent == name]
    may_skip = name in graph.optional or (bool(shares) and sum(shares) < 0.999)
    if not may_skip and not all(outputs):
        return Expected("failed", [])
    flat = [one for some in outputs for one in some]
    return Expected("done" if flat else "skipped", flat)


def expect_all(graph: Graph, order: Sequence[str]) -> dict[str, Expected]:
    """Run a graph in the mind; what needs a failed step is "not run"."""
    media = [hashlib.sha256(content.encode()).hexdigest() for content in graph.media]
    found: dict[str, Expected] = {}
    for name in order:
        parents = [found[parent] for parent in graph.parents(name)]
        if any(parent.state in ("failed", "not run") for parent in parents):
            found[name] = Expected("not run", [])
        else:
            inputs = [one for parent in parents for one in parent.outputs] if parents else media
            found[name] = expect(graph, name, inputs)
    return found


# --- Drawing ---


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, dict[str, Expected]]:
    """Draw a graph and what it must come to; steps that would run too often are joins."""
    count = draw(st.integers(1, MOST_COMPONENTS))
    order = [f"{draw(st.sampled_from('abcXYZ'))}{draw(st.sampled_from(['', '-', '_', '.']))}{n}" for n in range(count)]
    edges = []
    for number, child in enumerate(order[1:], 1):
        most = min(number, draw(st.sampled_from([1, 1, 2, 3, MOST_PARENTS])))
        parents = draw(st.sets(st.integers(0, number - 1), min_size=0, max_size=most))
        edges += [(order[parent], child, draw(st.sampled_from([1, 1, 0.6, 0.5]))) for parent in parents]
    kinds = {name: draw(st.sampled_from(WEIGHTS)) for name in order}
    if not draw(st.integers(0, 3)):
        kinds[draw(st.sampled_from(order))] = "broken"
    media = tuple(f"media {number}" for number in range(draw(st.integers(1, 3))))
    graph = Graph(
        names=tuple(draw(st.permutations(order))),
        edges=tuple(draw(st.permutations(edges))),
        kinds=kinds,
        # Mostly one that may write nothing says so, or the run ends early.
        optional=frozenset(name for name in order if kinds[name] in ("some", "none") and draw(st.integers(0, 7))),
        joins=frozenset(name for name in order if not draw(st.integers(0, 4))),
        shards={name: draw(st.sampled_from([1, 1, 1, 2, 3])) for name in order},
        media=media,
    )
    while True:
        expected = expect_all(graph, order)
        for name in order:
            inputs = sum(len(expected[parent].outputs) for parent in graph.parents(name))
            if inputs > MOST_INVOCATIONS and name not in graph.joins:
                graph = Graph(**{**vars(graph), "joins": graph.joins | {name}})
                break
        else:
            return graph, expected


def write_project(graph: Graph, folder: Path) -> Project:
    project = Project(folder)
    for number, content in enumerate(graph.media):
        first = hashlib.sha256(content.encode()).hexdigest()
        project.media(f"{first}\n{content}\n", f"media-{number}.txt")
    for name in graph.names:
        project.component(name, SCRIPT.replace("NAME", name) + TAILS[graph.kinds[name]])
    options: dict[str, dict[str, object]] = {name: {} for name in graph.names}
    for name in graph.names:
        options[name] |= {"optional": True} if name in graph.optional else {}
        options[name] |= {"join": name in graph.joins}
        options[name] |= {"shards": graph.shards[name]} if graph.shards[name] > 1 and name not in graph.joins else {}
    project.write(graph.names, graph.edges, options=options)
    return project


# --- Comparing ---


def read_output(path: Path) -> tuple[str, str]:
    """Return the lineage of an output and the name that its input had."""
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            member = archive.extractfile("lineage")
            assert member is not None
            text = member.read().decode()
    else:
        text = path.read_text()
    first, second = text.splitlines()[:2]
    return first, second


def check_run(graph: Graph, expected: Mapping[str, Expected], folder: Path, states: Mapping[str, str]) -> None:
    found = {name: [read_output(path) for path in (folder / name).glob("*")] for name in graph.names}
    files = {name: {path.name for path in (folder / name).glob("*")} for name in graph.names}
    files["save-media"] = {path.name for path in (folder / "save-media").iterdir()}
    for name in graph.names:
        assert states[name] == expected[name].state, (name, states)
        if expected[name].state == "failed":
            continue  # how far it came before is a matter of chance
        assert collections.Counter(one for one, _ in found[name]) == collections.Counter(expected[name].outputs), name
        if name not in graph.joins:
            sources = set().union(*(files[parent] for parent in graph.parents(name) or ["save-media"]))
            assert {source for _, source in found[name]} <= sources, "the name of a file was changed on its way"


def check_graph(graph: Graph, expected: Mapping[str, Expected]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="graph"))
    try:
        project = write_project(graph, folder)
        failed = any(one.state == "failed" for one in expected.values())
        first = project.run()
        assert first.status == (5 if failed else 0), first.err
        (run,) = project.runs()
        record = {step["step"]: step for step in read_record(run)["steps"]}
        states = {name: record[name]["state"] for name in graph.names}
        check_run(graph, expected, run, states)
        assert sorted(path.name for path in run.iterdir() if path.is_dir()) == sorted(
            ["save-media", *(name for name in graph.names if states[name] != "not run")]
            + (["logs"] if (run / "logs").exists() else [])
        )
        again = project.run()
        assert again.status == first.status, again.err
        if not failed:
            assert again.ran == {}
            check_run(graph, expected, again.folder, states)
    finally:
        shutil.rmtree(folder)


def test_each_step_gets_exactly_its_parents_files(full: bool) -> None:
    @hypothesis.settings(
        max_examples=400 if full else 10,
        deadline=None,
        database=None,
        derandomize=not full,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(graphs())
    def check(drawn: tuple[Graph, dict[str, Expected]]) -> None:
        check_graph(*drawn)

    check()
