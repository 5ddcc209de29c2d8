"""Stage 4, pipeline manager: plans a run, lets its target run it, and answers for its outputs."""

import argparse
import contextlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run alone, Python puts this folder on the path; what is imported lies in its parent
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from src import step as launcher
from src.cli import add_common_options, add_run_options, run_program
from src.components import component_sum, locate_components
from src.dag import Dag
from src.errors import AutopipeError, Detached, FetchError, OutputError, RunError, before_work
from src.lock import dag_folder, lock_dag
from src.media import save_media, stage
from src.plan import Plan, make_plan, plan_document, step_key
from src.progress import count, follow
from src.record import PRIVATE, Run, close_folder, open_run, point_latest, step_records, write_record, write_text
from src.recovery import recover_runs
from src.request import Request
from src.settings import ROOT, Settings
from src.signals import signals_held
from src.step import SAVE_MEDIA
from src.store import open_store
from src.sums import SumMemory
from src.targets import choose_target, load_target

log = logging.getLogger("autopipe")


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run that went well: its folder, and the state and output names of each step."""

    folder: Path
    steps: tuple[tuple[str, str, tuple[str, ...]], ...]


def run_pipeline(
    dag: Dag, settings: Settings, target: str, *, output: Path, fresh: bool = False, live: bool = False
) -> Result:
    """Run a DAG whose media is saved and whose components are here; the caller holds its lock.

    target: a name of TARGETS. fresh: take over nothing. live: show bars. Raises RunError when a step failed,
    OutputError when outputs are not where they should be, Interrupted after a signal.
    """
    plan = make_plan(dag)
    for remark in plan.remarks:
        log.info("%s", remark)
    store = open_store(dag, output, fresh=fresh)
    with before_work(store.folder.parent):
        recover_runs(dag_folder(dag, output), store, settings)
    media = save_media(dag.media, store)
    folders = find_folders(dag, settings)
    sums = component_sums(folders, settings)
    keys = step_keys(plan, sums, _environments(plan, folders, settings, target))
    facts = {
        "dag": dag.name,
        "file": str(dag.path),
        "target": target,
        **_origin(dag, settings),
    }
    with open_run(plan, output, store, tuple(media), facts) as run, follow(live=live) as progress:
        try:
            with before_work(run.folder):
                document = plan_document(
                    plan,
                    run_id=run.id,
                    keys=keys,
                    sums=sums,
                    media=stage(media, store, run.folder / PRIVATE / "media"),
                    parallel=None,
                )
                write_text(run.folder / PRIVATE / "plan.json", json.dumps(document))
            load_target(target).run(run, plan, document, folders, settings, progress)
            steps = _records(run, plan, sums)
            _check(run, steps)
            _verify(run, document)
        except AutopipeError as error:
            with contextlib.suppress(OutputError):  # a disk that is full is told by the first who met it
                _close(run, _state_after(error), _records(run, plan, sums))
            raise
        _close(run, "done", steps)
    point_latest(run)
    return Result(
        folder=run.folder,
        steps=tuple((step["step"], step["state"], tuple(_names(step))) for step in steps),
    )


def _environments(plan: Plan, folders: Mapping[str, Path], settings: Settings, target: str) -> dict[str, str]:
    """Return the id of what runs each component: stage 3 has made it, unless this stage is run alone."""
    module = load_target(target)
    found = module.environments(plan, folders, settings, make=False)
    if all(step.name in found for step in plan.steps):
        return found
    return module.environments(plan, folders, settings, make=True)


def find_folders(dag: Dag, settings: Settings) -> dict[str, Path]:
    """Return the folder of each step's component, save-media included; raises FetchError when one is not here."""
    return {SAVE_MEDIA: ROOT / "src" / SAVE_MEDIA, **(_fetched(dag, settings) or locate_components(dag, settings, {}))}


def _fetched(dag: Dag, settings: Settings) -> dict[str, Path]:
    if not dag.repository:
        return {}
    from src.fetch import fetched_folders  # with all that Git needs, which runs without a repository need not wait for
    from src.repository.url import clean_url

    folders = fetched_folders(dag, settings)
    if folders is None:
        raise FetchError(
            f"the components of {clean_url(dag.repository)} are not here yet",
            hint=f"fetch them: python3 download_components.py -i {dag.path}",
        )
    return folders


def _origin(dag: Dag, settings: Settings) -> dict[str, str | None]:
    if not dag.repository:
        return {"repository": None, "commit": None}
    from src.fetch import fetched_commit
    from src.repository.url import clean_url

    return {"repository": clean_url(dag.repository), "commit": fetched_commit(dag, settings)}


def component_sums(folders: Mapping[str, Path], settings: Settings) -> dict[str, str]:
    """Return the sum of each component; see component_sum."""
    with SumMemory(settings.cache_dir) as memory:
        return {name: component_sum(name, folder, memory) for name, folder in folders.items()}


def step_keys(plan: Plan, sums: Mapping[str, str], environments: Mapping[str, str]) -> dict[str, str]:
    """Return the known part of each step's keys, for the steps whose environment is known."""
    return {
        step.name: step_key(sums[step.name], environments[step.name], step.options)
        for step in plan.steps
        if step.name in environments
    }


def _records(run: Run, plan: Plan, sums: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{**step, "component": sums[step["step"]]} for step in step_records(run, plan)]


def _state_after(error: AutopipeError) -> str:
    if isinstance(error, Detached):
        return "detached"
    return "interrupted" if error.status > 128 else "failed"


def _close(run: Run, state: str, steps: list[dict[str, Any]]) -> None:
    """Write the run's last record and tidy its folder, which a signal does not leave half done."""
    try:
        with signals_held():
            write_record(run, state, steps)
            close_folder(run.folder)
    except OSError as error:
        raise OutputError(
            f"the run's folder {run.folder} cannot be completed: {error.strerror}"
            + (f": {error.filename}" if error.filename else ""),
            hint="free some space, then give the same command again: nothing that was done is run again",
        ) from error


def _verify(run: Run, document: dict[str, Any]) -> None:
    for step in document["steps"]:
        try:
            entries = launcher.step_outputs(run.folder, document, step)
        except launcher.StepError as error:
            raise RunError(f"step {step}: {error.message}", hint=error.hint) from error
        for entry in entries:
            if not launcher.is_intact(run.folder / step / entry["name"], entry):
                raise OutputError(
                    f"the output {step}/{entry['name']} was changed or removed during the run",
                    hint="give the same command again: what is missing is made anew",
                )


def _check(run: Run, steps: list[dict[str, Any]]) -> None:
    """Raise RunError unless every step is done or skipped."""
    failed = [step for step in steps if step["state"] == "failed"]
    if not failed:
        return
    first = failed[0]
    where = next((one["name"] for one in first["invocations"] if one["state"] == "failed"), "")
    others = [f"{step['step']}: {step['message']}" for step in failed[1:]]
    idle = [step["step"] for step in steps if step["state"] == "not run"]
    details = [
        *first.get("tail", ()),
        *([f"also failed: {other}" for other in others[:20]]),
        *([f"and {count(len(others) - 20, 'more step')}"] if len(others) > 20 else []),
        *([f"not run, since they need it: {', '.join(idle[:20])}"] if idle else []),
        f"log: {run.folder / 'logs' / (first['step'] + '.log')}",
    ]
    raise RunError(
        f"step {first['step']}{f' on {where}' if where and where != first['step'] else ''}: {first['message']}",
        details=tuple(details),
        hint=first.get("hint") or "correct the component; the same command goes on from here",
    )


def _names(step: Mapping[str, Any]) -> list[str]:
    return sorted(entry["name"] for record in step["invocations"] for entry in record["outputs"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run stage 4 alone; the earlier stages must have been run."""
    parser = argparse.ArgumentParser(prog="pipeline_manager.py", description="Stage 4: run the pipeline of a DAG file.")
    add_common_options(parser)
    add_run_options(parser)
    return run_program(manage, parser, argv)


def manage(request: Request) -> None:
    """Run the pipeline and print where its outputs are; the media is saved on the way."""
    target, _ = choose_target(request.target, request.settings, fetched=request.dag.repository is not None)
    with lock_dag(request.dag, request.output):
        result = run_pipeline(
            request.dag,
            request.settings,
            target,
            output=request.output,
            fresh=request.fresh,
            live=request.live,
        )
        print_result(result, as_json=request.json)


def print_result(result: Result, *, as_json: bool) -> None:
    """Print the run's folder and a line a step on stdout, or one JSON object."""
    if as_json:
        steps = [{"step": step, "state": state, "outputs": list(names)} for step, state, names in result.steps]
        sys.stdout.write(json.dumps({"folder": str(result.folder), "steps": steps}, indent=2) + "\n")
        return
    width = max(len(step) for step, _, _ in result.steps)
    lines = [str(result.folder)]
    for step, state, names in result.steps:
        shown = "  ".join(names[:3]) + (f"  and {len(names) - 3} more" if len(names) > 3 else "")
        lines.append(f"{step:<{width}}  {state:<7}  {shown}".rstrip())
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
