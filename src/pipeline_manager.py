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

from src.cli import run_program
from src.closing import check_steps, close_run, state_after, verify_outputs
from src.dag import Dag
from src.errors import AutopipeError, OutputError, before_work
from src.lock import dag_folder, lock_dag
from src.media import save_media, stage
from src.options import add_common_options, add_run_options
from src.plan import Plan, make_plan, plan_document
from src.progress import follow
from src.record import PRIVATE, Run, open_run, point_latest, step_records, write_text
from src.recovery import recover_runs
from src.request import Request
from src.settings import Settings
from src.sources import component_sums, find_folders, origin_of, step_keys
from src.store import open_store
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
        **origin_of(dag, settings),
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
            check_steps(run, steps)
            verify_outputs(run, document)
        except AutopipeError as error:
            with contextlib.suppress(OutputError):  # a disk that is full is told by the first who met it
                close_run(run, state_after(error), _records(run, plan, sums))
            raise
        close_run(run, "done", steps)
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


def _records(run: Run, plan: Plan, sums: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{**step, "component": sums[step["step"]]} for step in step_records(run, plan)]


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
