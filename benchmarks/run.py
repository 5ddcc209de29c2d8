"""Measures the tool beside a bare loop, make, doit and Snakemake, in one run, and prints one table."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":  # run alone, Python puts this folder on the path; what is imported lies in its parent
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.contenders import LOOP, OURS, ROOT, Contender, all_contenders, autopipe
from benchmarks.installed import install
from benchmarks.measure import Case, FailedError, Timings, time_cases
from benchmarks.table import Row, Section, show
from benchmarks.workloads import make_chain, make_graph, make_wide

STEPS, WIDE, PLANNED = 100, 40, 1000
BUSY = 1.0  # seconds of a busy step
MEDIA = 10 << 30  # bytes of sparse media

IMPORTS = "import argparse, pathlib, dataclasses"
PROBE = """
import json, sys, time
from pathlib import Path
sys.path[0] = sys.argv[1]
from src.dag import load_dag
from src.dagfile import parse
from src.plan import make_plan, plan_document, step_key
file = Path(sys.argv[2])
started = time.perf_counter()
plan = make_plan(load_dag(file))
keys = {step.name: step_key("0" * 64, "process", step.options) for step in plan.steps}
json.dumps(plan_document(plan, run_id="", keys=keys, sums=keys, media=[], parallel=None))
print(time.perf_counter() - started)
"""


class Bench:
    """What the measures share: a folder to work in, the commands' interpreter, how often, and where the others are."""

    def __init__(self, folder: Path, programs: Path, rounds: int) -> None:
        self.folder = folder
        self.rounds = rounds
        self._programs = programs
        self._cache = folder / "cache"
        # Isolated and without site: a step costs as little as a Python can.
        self.interpreter = (os.path.realpath(sys.executable), "-ISE")

    def contenders(self, name: str, jobs: int = 1) -> dict[str, Contender]:
        """Return every tool for the workload called name."""
        folder = self.folder / name
        folder.mkdir()
        if name == "chain":
            workload = make_chain(folder, self.interpreter, length=STEPS)
        elif name == "wide":
            workload = make_wide(folder, self.interpreter, width=WIDE, seconds=BUSY)
        else:
            workload = make_graph(folder, self.interpreter, size=PLANNED)
        return all_contenders(workload, jobs=jobs, programs=self._programs, cache=self._cache)

    def with_big_media(self) -> Contender:
        """Return the tool for a chain whose media is big."""
        folder = self.folder / "big"
        folder.mkdir()
        workload = make_chain(folder, self.interpreter, length=STEPS, media_size=MEDIA)
        return autopipe(workload, self._cache, f"{OURS}, {MEDIA >> 30} GB of media")


def measure_chain(bench: Bench) -> Section:
    """Run a chain from nothing, and again with all done: what a step costs beside its command."""
    contenders = bench.contenders("chain")
    cold = time_cases([one.cold() for one in contenders.values()], bench.rounds)

    def overhead(name: str) -> str:
        each = cold.paired(name, LOOP, lambda one, base: (one - base) / STEPS) * 1000
        return f"{each:.1f} ms a step more"

    return Section(
        title=f"a chain of {STEPS} trivial steps, from nothing",
        target=f"{OURS}: <= 10 ms a step over the bare loop",
        rows=_rows(cold, LOOP, overhead),
    )


def measure_rerun(bench: Bench) -> Section:
    """Run a chain that is done: what it costs to see that nothing is to do."""
    contenders = bench.contenders("chain")
    del contenders[LOOP]  # it cannot see that
    everyone = [*contenders.values(), bench.with_big_media()]
    for one in everyone:
        one.cold().run()
    timings = time_cases([one.warm() for one in everyone], bench.rounds)
    return Section(
        title=f"the same chain of {STEPS}, all done", target=f"{OURS}: <= 0.5 s", rows=_rows(timings, "make")
    )


def measure_wide(bench: Bench) -> Section:
    """Run independent busy steps on two cores; ideal is the time of all of them alone, divided by two."""
    contenders = bench.contenders("wide", jobs=2)
    loop = contenders[LOOP]
    alone = Case(
        name="one step alone",
        command=[*bench.interpreter, str(bench.folder / "wide/components/w0000/main.py"), "-i", "-", "-o", "alone"],
        folder=bench.folder / "wide",
    )
    rounds = max(2, bench.rounds // 2)  # of more than a minute each
    timings = time_cases([alone, *(one.cold() for one in contenders.values())], rounds)
    ideal = WIDE / 2

    def share(name: str) -> str:
        return f"{timings.paired(name, alone.name, lambda one, base: base * ideal / one):.1%} of ideal"

    rows = _rows(timings, loop.name, lambda name: "" if name == alone.name else share(name))
    return Section(
        title=f"{WIDE} equal busy steps, two at once",
        target=f"{OURS}: >= 95 % of ideal, {WIDE} / 2 times one",
        rows=rows,
    )


def measure_plan(bench: Bench) -> Section:
    """Plan a graph without running it: the plan alone in a process that runs already, and each tool's dry run."""
    contenders = bench.contenders("graph")
    del contenders[LOOP]
    file = bench.folder / "graph" / "dag.yaml"
    probe = Case(
        name=f"{OURS}, plan alone",
        command=[sys.executable, "-c", PROBE, str(ROOT), str(file)],
        folder=file.parent,
        prints_seconds=True,
    )
    timings = time_cases([probe, *(one.plan() for one in contenders.values())], bench.rounds)
    return Section(
        title=f"the plan of {PLANNED} steps: dry runs",
        target=f"{OURS}, parse and plan alone: <= 0.2 s",
        rows=_rows(timings, "make"),
    )


def measure_help(bench: Bench) -> Section:
    """Print the help: what a start costs."""
    (bench.folder / "help").mkdir()

    def case(name: str, *command: str) -> Case:
        return Case(name=name, command=command, folder=bench.folder / "help")

    base = case("bare imports", sys.executable, "-c", IMPORTS)
    ours = case(OURS, sys.executable, str(ROOT / "autopipe.py"), "--help")
    others = [
        case(one.name, one.run[0], "help" if one.name == "doit" else "--help")
        for one in bench.contenders("chain").values()
        if one.name in ("make", "doit", "snakemake")
    ]
    timings = time_cases([base, ours, *others], bench.rounds * 4)
    return Section(
        title=f"--help, beside python -c '{IMPORTS}'", target=f"{OURS}: <= 1.5", rows=_rows(timings, base.name)
    )


def _rows(timings: Timings, base: str, figure: Callable[[str], str] = lambda _: "") -> list[Row]:
    return [
        Row(
            name=name,
            wall=timings.wall(name),
            cpu=timings.cpu(name),
            ratio=timings.ratio(name, base),
            note="baseline" if name == base else figure(name),
        )
        for name in timings.samples
    ]


MEASURES: dict[str, Callable[[Bench], Section]] = {
    "chain": measure_chain,
    "wide": measure_wide,
    "rerun": measure_rerun,
    "plan": measure_plan,
    "help": measure_help,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measures; return 1 only when something could not be run: the figures are for people to judge."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="two rounds, for a look")
    parser.add_argument("--rounds", type=int, default=7, help="how often each command is run (default: 7)")
    parser.add_argument("--venv", type=Path, metavar="DIR", help="where the other tools are or get installed")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.measures) - set(MEASURES))
    if unknown:
        parser.error(f"no such measure: {', '.join(unknown)}")
    programs = install(args.venv)
    sections = []
    try:
        for name in args.measures or MEASURES:
            with tempfile.TemporaryDirectory(prefix="autopipe-bench-") as folder:
                bench = Bench(Path(folder), programs, 2 if args.quick else args.rounds)
                sections.append(MEASURES[name](bench))
    except FailedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        sys.stdout.write(show(sections))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
