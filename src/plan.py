"""The plan of a run: steps in order, what feeds them, their names and the known part of their keys; pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from src.dag import Dag, Options
from src.step import SAVE_MEDIA

FORMAT = 1  # of plan.json


@dataclass(frozen=True, kw_only=True)
class Step:
    """A node of the run. parents and children are names of steps; tasks has one name a shard."""

    name: str
    parents: tuple[str, ...]
    children: tuple[str, ...]
    options: Options
    tasks: tuple[str, ...]
    may_skip: bool  # "no output" is a normal end of an invocation


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Steps in an order in which each comes after its parents; save-media is the first."""

    dag: Dag
    steps: tuple[Step, ...]
    remarks: tuple[str, ...] = field(default=())


def make_plan(dag: Dag) -> Plan:
    """Order the steps of a checked DAG; between steps that do not depend on each other the file's order holds."""
    parents: dict[str, list[str]] = {name: [] for name in dag.components}
    children: dict[str, list[str]] = {name: [] for name in (SAVE_MEDIA, *dag.components)}
    passed_on: dict[str, float] = {}
    for edge in dag.edges:
        parents[edge.child].append(edge.parent)
        children[edge.parent].append(edge.child)
        passed_on[edge.parent] = passed_on.get(edge.parent, 0.0) + edge.probability
    for name in dag.components:
        if not parents[name]:
            parents[name].append(SAVE_MEDIA)
            children[SAVE_MEDIA].append(name)
    steps = [_media_step(children)]
    for name in _in_order(dag.components, parents):
        options = dag.options_of(name)
        tasks = (name,) if options.shards == 1 else tuple(f"{name}@{shard}" for shard in range(options.shards))
        steps.append(
            Step(
                name=name,
                parents=tuple(sorted(parents[name])),
                children=tuple(sorted(children[name])),
                options=options,
                tasks=tasks,
                # 0.1 is no binary fraction: shares that are meant to sum to 1 may miss it by an ulp or two.
                may_skip=options.optional or passed_on.get(name, 1.0) < 1 - 1e-9,
            )
        )
    return Plan(dag=dag, steps=tuple(steps), remarks=tuple(_remarks(steps)))


def _media_step(children: Mapping[str, Sequence[str]]) -> Step:
    return Step(
        name=SAVE_MEDIA,
        parents=(),
        children=tuple(sorted(children[SAVE_MEDIA])),
        options=Options(),
        tasks=(SAVE_MEDIA,),
        may_skip=False,
    )


def _in_order(names: Sequence[str], parents: Mapping[str, Sequence[str]]) -> list[str]:
    order: dict[str, None] = {SAVE_MEDIA: None}
    for root in names:
        stack = [root]
        while stack:
            missing = [parent for parent in parents[stack[-1]] if parent not in order]
            if missing:
                stack.append(missing[0])
            else:
                order[stack.pop()] = None
    return list(order)[1:]


def _remarks(steps: Sequence[Step]) -> list[str]:
    return [
        f"{step.name} has {len(step.parents)} parents ({', '.join(step.parents)}): it runs once for each of their "
        f"output files; `join: true` would run it once with all of them"
        for step in steps
        if len(step.parents) > 1 and step.options.join is None
    ]


def step_key(component: str, environment: str, options: Options) -> str:
    """Return the part of an invocation's key that is known beforehand, in hex.

    component is the component's key, environment what runs it. Of the options those count that change the result;
    never cpu, memory, timeouts or where a file lies.
    """
    known = {
        "component": component,
        "environment": environment,
        "args": options.args,
        "env": dict(sorted(options.env.items())),
        "secrets": {name: list(where) for name, where in sorted(options.secrets.items())},
        "command": options.command,
        "join": bool(options.join),
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def plan_document(
    plan: Plan,
    *,
    run_id: str,
    keys: Mapping[str, str],
    sums: Mapping[str, str],
    media: Sequence[Mapping[str, Any]],
    parallel: int | None,
) -> dict[str, Any]:
    """Return plan.json, all that the launcher needs: {format, run, media, steps: {step: [task]}, tasks: {task: …}}.

    keys: step_key of each step. sums: what each step's component sums up to.
    parallel: invocations side by side where a step says no cpu; None is all cores.
    """
    tasks = {
        task: {
            "step": step.name,
            "shard": [shard, len(step.tasks)],
            "parents": list(step.parents),
            "command": list(step.options.command),
            "args": list(step.options.args),
            "env": dict(step.options.env),
            "timeout": step.options.timeout,
            "retries": step.options.retries,
            "parallel": _side_by_side(step.options, parallel),
            "join": bool(step.options.join),
            "copy_input": step.options.copy_input,
            "may_skip": step.may_skip,
            "key": keys[step.name],
            "component": sums[step.name],
        }
        for step in plan.steps
        for shard, task in enumerate(step.tasks)
    }
    return {
        "format": FORMAT,
        "run": run_id,
        "media": [dict(entry) for entry in media],
        "steps": {step.name: list(step.tasks) for step in plan.steps},
        "tasks": tasks,
    }


def _side_by_side(options: Options, parallel: int | None) -> int | None:
    if options.cpu is not None:
        return max(1, int(options.cpu))
    # memory is what one invocation needs: two at once would need twice as much.
    return 1 if options.memory is not None else parallel
