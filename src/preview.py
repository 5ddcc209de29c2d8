"""The plan as `--dry-run` prints it: order, what would run, what would be reused; touches nothing."""

import sys
from collections.abc import Mapping

from src import step as launcher
from src.lock import dag_folder
from src.media import saved_media
from src.plan import Plan, Step, make_plan, plan_document
from src.progress import count
from src.request import Request
from src.sources import component_sums, find_folders, step_keys
from src.step import SAVE_MEDIA, Input, Record
from src.store import Store, open_store
from src.targets import choose_target, load_target


def show_plan(request: Request) -> None:
    """Print what a run of this request would do; raises what the run would raise before it starts."""
    target, reason = choose_target(request.target, request.settings, fetched=request.dag.repository is not None)
    plan = make_plan(request.dag)
    store = open_store(request.dag, request.output, fresh=request.fresh)
    folders = find_folders(request.dag, request.settings)
    sums = component_sums(folders, request.settings)
    environments = load_target(target).environments(plan, folders, request.settings, make=False)
    keys = step_keys(plan, sums, environments)
    media = saved_media(request.dag.media, store)
    lines = [
        f"target: {target} ({reason})",
        f"output: {dag_folder(request.dag, request.output)}",
        _tell_environments(plan, environments, target, rebuild=request.rebuild),
    ]
    document = plan_document(
        plan,
        run_id="",
        keys={step.name: keys.get(step.name, "") for step in plan.steps},
        sums=sums,
        media=media or [],
        parallel=None,
    )
    width = max(len(step.name) for step in plan.steps)
    outputs: dict[str, list[Input] | None] = {}
    for number, step in enumerate(plan.steps, 1):
        outputs[step.name], what = _foresee(step, document, outputs, keys, store, media)
        source = ", ".join(step.parents) or "the media"
        shards = f", {len(step.tasks)} shards" if len(step.tasks) > 1 else ""
        lines.append(f"{number:>4}  {step.name:<{width}}  {what}{shards}  (from {source})")
    sys.stdout.write("\n".join([*lines, *plan.remarks]) + "\n")
    if target == "kubeflow":
        from src.targets.kubeflow import preview

        sys.stdout.write(f"---\n{preview(plan, folders, request.settings)}")


def _tell_environments(plan: Plan, environments: Mapping[str, str], target: str, *, rebuild: bool) -> str:
    """Return a line on what steps run in: for how many it is there, and for which it would be made."""
    what, rebuild = ("environments", False) if target == "process" else ("images", rebuild)
    made = [step.name for step in plan.steps if rebuild or step.name not in environments]
    there = f"{len(plan.steps) - len(made)} of {len(plan.steps)} there"
    return f"{what}: {there}" + (f", to be made: {', '.join(made)}" if made else "")


def _foresee(
    step: Step,
    document: Record,
    outputs: Mapping[str, list[Input] | None],
    keys: Mapping[str, str],
    store: Store,
    media: list[Record] | None,
) -> tuple[list[Input] | None, str]:
    """Return a step's outputs, where the store has them all, and a word on what would be done."""
    if step.name not in keys:
        return None, "runs (what it runs in is not made yet)"
    inputs: list[Input] = []
    if step.name == SAVE_MEDIA:
        if media is None:
            return None, "runs (the media is new)"
        inputs = [Input("", store.media.parent / entry["name"], entry) for entry in media]
    for parent in step.parents:
        found = outputs[parent]
        if found is None:
            return None, f"runs where the outputs of {parent} are new"
        inputs += found
    chosen = [one for task in step.tasks for one in launcher.choose_invocations(document["tasks"][task], inputs)]
    records = [record for one in chosen if (record := store.find(one.key)) and (record["outputs"] or step.may_skip)]
    if len(records) < len(chosen):
        return None, f"runs {len(chosen) - len(records)} of {count(len(chosen), 'invocation')}"
    return store.inputs(step.name, records), f"reused, {count(sum(len(r['outputs']) for r in records), 'file')}"
