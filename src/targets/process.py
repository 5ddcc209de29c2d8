"""Target process: one child process an invocation on this machine, in an environment of the step's own."""

import functools
import logging
import os
import shutil
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from src import step as launcher
from src.components import component_files, component_sum
from src.crew import Crew, cancelled_by_signals
from src.environments import Environment, find_environment, make_environment, own_environment, place_of
from src.packages import missing_packages
from src.paths import plain_path
from src.plan import Plan
from src.progress import Progress
from src.pythons import find_python
from src.record import Run
from src.settings import SECRETS, Settings
from src.step import SAVE_MEDIA, WORK, Record, StepError, plain
from src.sums import SumMemory

log = logging.getLogger("autopipe")
LARGE = 1 << 20  # bytes; a file of that size is linked where others are copied
_PRIVATE = SECRETS | {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
"""Not for components: the tool's passwords, and what would lead their Python to the tool's packages."""


def environments(plan: Plan, folders: Mapping[str, Path], settings: Settings, *, make: bool) -> dict[str, str]:
    """Return the id of each component's environment; see Target."""
    found = _environments(plan, folders, settings, make=make)
    return {name: environment.id for name, environment in found.items()}


def _environments(plan: Plan, folders: Mapping[str, Path], settings: Settings, *, make: bool) -> dict[str, Environment]:
    found = {SAVE_MEDIA: own_environment()}
    seen: dict[Path, Environment] = {}  # most components share one with others
    for name, folder in folders.items():
        if name == SAVE_MEDIA:
            continue
        python = plan.dag.options_of(name).python
        place = place_of(folder, python, settings.cache_dir)
        known = seen.get(place) or find_environment(place)
        if known is None and make:
            known = make_environment(name, folder, python, settings.cache_dir)
        elif known is None and python:
            find_python(python, name)  # says in time that it is not here
        if known:
            found[name] = seen[place] = known
    return found


def run(
    run: Run, plan: Plan, document: Record, folders: Mapping[str, Path], settings: Settings, progress: Progress
) -> None:
    """Run every step as soon as its parents are complete; see Target."""
    _warn_of_packages(folders)
    found = _environments(plan, folders, settings, make=True)
    interpreters = {name: str(environment.interpreter) for name, environment in found.items()}
    slots = threading.Semaphore(launcher.cores())
    environ = {name: value for name, value in os.environ.items() if name not in _PRIVATE}
    with cancelled_by_signals() as cancel, plain_path(run.folder) as volume:

        def execute(task: str, notify: Callable[[Record], None]) -> Record:
            spec = document["tasks"][task]
            return launcher.run_task(
                volume,
                document,
                task,
                interpreter=interpreters[spec["step"]],
                component=functools.partial(_copy_component, spec, folders[spec["step"]], volume, settings.cache_dir),
                environ=environ,
                slots=slots,
                cancel=cancel,
                notify=notify,
                echo=progress.echo,
            )

        try:
            Crew(run, document, execute, cancel, progress).work(plan)
        finally:
            launcher.kill_marked(run.id)  # what left its group and closed its output is seen only here


def _copy_component(spec: Record, source: Path, volume: Path, cache_dir: Path) -> Path:
    """Copy a step's component for the time of the run: neither an edit meanwhile nor the component reaches across.

    Files that are too big to copy are linked. Raises StepError when it is not what the plan was made for.
    """
    target = volume / WORK / f"of-{plain(spec['step'])}-{spec['shard'][0]}"
    shutil.rmtree(target, ignore_errors=True)
    for path in component_files(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(path, copy)
    with SumMemory(cache_dir) as memory:
        if component_sum(spec["step"], source, memory) != spec["component"]:
            raise StepError(
                f"its component {source} was changed after the run had started", "give the same command again"
            )
    return target


def _copy_file(path: Path, copy: Path) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        copy.symlink_to(path.readlink())
    elif status.st_size < LARGE:
        copy.write_bytes(path.read_bytes())
        copy.chmod(stat.S_IMODE(status.st_mode))
    else:
        copy.symlink_to(path)


def _warn_of_packages(folders: Mapping[str, Path]) -> None:
    for name, folder in folders.items():
        missing = missing_packages(folder / "requirements.sys")
        if missing:
            log.warning("%s needs system packages that are not installed: %s", name, ", ".join(missing))
