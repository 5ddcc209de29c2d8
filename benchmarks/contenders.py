"""The tools that are compared, each given the same commands in its own language."""

import json
import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Case, FailedError
from benchmarks.workloads import Workload

ROOT = Path(__file__).resolve().parent.parent
OURS = "autopipe"
LOOP = "bare loop"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A tool set up for a workload: the commands that run it, and that only say what would be run."""

    name: str
    place: Path  # what it writes lies in here
    run: tuple[str, ...]
    dry_run: tuple[str, ...] = ()
    outputs: tuple[Path, ...]  # what must be there after a run

    def cold(self) -> Case:
        """Return the case of a run from nothing."""
        return Case(name=self.name, command=self.run, folder=self.place.parent, prepare=self._empty, check=self._check)

    def warm(self) -> Case:
        """Return the case of a run that finds all done."""
        return Case(name=self.name, command=self.run, folder=self.place.parent, check=self._check)

    def plan(self) -> Case:
        """Return the case of a dry run with nothing done."""
        return Case(name=self.name, command=self.dry_run, folder=self.place.parent, prepare=self._empty)

    def _empty(self) -> None:
        # Moved, not removed: some file systems (ext4 without a journal) are slow at making files for minutes after many
        # were removed, which would be measured with whoever comes next.
        if self.place.exists():
            self.place.rename(self.place.with_name(f"{self.place.name}-{secrets.token_hex(4)}"))
        (self.place / "out").mkdir(parents=True)

    def _check(self) -> None:
        missing = [path for path in self.outputs if not path.is_file()]
        if missing:
            raise FailedError(f"{self.name}: {len(missing)} outputs are missing, {missing[0]} first")


def _ends(out: Path, workload: Workload) -> tuple[Path, ...]:
    return tuple(out / task.name for task in workload.tasks)


def bare_loop(workload: Workload, jobs: int) -> Contender:
    """Return a loop of the shell; side by side it is xargs."""
    place = workload.folder / "loop"
    commands = [workload.command(task, place / "out") for task in workload.tasks]
    script = workload.folder / "loop.sh"
    first = len(workload.interpreter)
    if jobs > 1:
        lines = [shlex.join(command[first:]) for command in commands]
        run = ("xargs", "-a", str(script), "-P", str(jobs), "-L", "1", *workload.interpreter)
    else:
        lines = ["set -e", *(shlex.join(command) for command in commands)]
        run = ("sh", str(script))
    script.write_text("\n".join([*lines, ""]))
    return Contender(name=LOOP, place=place, run=run, outputs=_ends(place / "out", workload))


def make(workload: Workload, jobs: int) -> Contender:
    """Return make without its built-in rules; the program is a prerequisite too."""
    place = workload.folder / "make"
    lines = ["all: " + " ".join(str(path) for path in _ends(place / "out", workload))]
    for task in workload.tasks:
        needs = " ".join(str(path) for path in [*workload.inputs(task, place / "out"), task.program])
        lines += [f"{place / 'out' / task.name}: {needs}", "\t" + shlex.join(workload.command(task, place / "out"))]
    file = workload.folder / "Makefile"
    file.write_text("\n".join([*lines, ""]))
    run = ("make", "--no-builtin-rules", f"--jobs={jobs}", f"--file={file}")
    return Contender(
        name="make", place=place, run=run, dry_run=(*run, "--dry-run"), outputs=_ends(place / "out", workload)
    )


def doit(workload: Workload, jobs: int, programs: Path) -> Contender:
    """Return doit, its database with its outputs."""
    place = workload.folder / "doit"
    tasks = [
        {
            "name": task.name,
            "actions": [workload.command(task, place / "out")],
            "file_dep": [str(path) for path in [*workload.inputs(task, place / "out"), task.program]],
            "targets": [str(place / "out" / task.name)],
        }
        for task in workload.tasks
    ]
    file = workload.folder / "dodo.py"
    file.write_text(f"TASKS = {tasks!r}\n\n\ndef task_all():\n    yield from TASKS\n")
    options = ("--file", str(file), "--db-file", str(place / "doit.db"))
    parallel = ("--process", str(jobs)) if jobs > 1 else ()
    program = str(programs / "doit")
    return Contender(
        name="doit",
        place=place,
        run=(program, "run", *options, *parallel),
        dry_run=(program, "list", *options, "--all", "--status"),
        outputs=_ends(place / "out", workload),
    )


def snakemake(workload: Workload, jobs: int, programs: Path) -> Contender:
    """Return Snakemake with a rule a task."""
    place = workload.folder / "snakemake"
    lines = ["rule all:", f"    input: {[str(path) for path in _ends(place / 'out', workload)]!r}"]
    for task in workload.tasks:
        lines += [
            f"rule {task.name}:",
            f"    input: {[str(path) for path in [*workload.inputs(task, place / 'out'), task.program]]!r}",
            f"    output: {str(place / 'out' / task.name)!r}",
            f"    shell: {shlex.join(workload.command(task, place / 'out'))!r}",
        ]
    file = workload.folder / "Snakefile"
    file.write_text("\n".join([*lines, ""]))
    run = (str(programs / "snakemake"), "--snakefile", str(file), "--directory", str(place), "--cores", str(jobs))
    return Contender(
        name="snakemake", place=place, run=run, dry_run=(*run, "--dry-run"), outputs=_ends(place / "out", workload)
    )


def autopipe(workload: Workload, cache: Path, name: str = OURS) -> Contender:
    """Return the tool itself, target process; it runs the same interpreter by the option `command`."""
    place = workload.folder / "autopipe"
    command = [*workload.interpreter, "main.py"]
    system: dict[str, object] = {
        "name": "bench",
        "input_media": str(workload.media),
        "components": [task.name for task in workload.tasks],
        "dependencies": [[parent, task.name, 1] for task in workload.tasks for parent in task.parents],
        "options": {task.name: {"command": command} for task in workload.tasks},
    }
    file = workload.folder / "dag.yaml"
    file.write_text(_as_yaml(system))
    settings = workload.folder / "settings.env"
    settings.write_text(f"CACHE_DIR={cache}\n")
    run = (
        *(sys.executable, str(ROOT / "autopipe.py"), "-i", str(file), "--target", "process"),
        *("--output", str(place), "--env-file", str(settings)),
    )
    latest = place / "bench" / "latest"
    return Contender(
        name=name,
        place=place,
        run=run,
        dry_run=(*run, "--dry-run"),
        outputs=tuple(latest / task.name / task.name for task in workload.tasks),
    )


def _as_yaml(system: dict[str, object]) -> str:
    """Return a DAG file as people write it: a line a key, flow lists."""
    lines = [f"  {key}: {json.dumps(value)}" for key, value in system.items() if key != "options"]
    options = system["options"]
    assert isinstance(options, dict)
    lines += ["  options:", *(f"    {name}: {json.dumps(value)}" for name, value in options.items())]
    return "\n".join(["System:", *lines, ""])


def all_contenders(workload: Workload, *, jobs: int, programs: Path, cache: Path) -> dict[str, Contender]:
    """Return every tool for a workload, with so many jobs at once; programs is where doit and snakemake are."""
    made: Sequence[Contender] = [
        bare_loop(workload, jobs),
        make(workload, jobs),
        doit(workload, jobs, programs),
        snakemake(workload, jobs, programs),
        autopipe(workload, cache),
    ]
    return {contender.name: contender for contender in made}
