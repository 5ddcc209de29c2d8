"""The Kubeflow pipeline of a plan: compiled by the kfp SDK, its platform part in the form that all servers read.

The form is that of kubernetes_executor_config.proto in Kubeflow Pipelines. kfp-kubernetes writes
fields that servers before 2.5 refuse, which is why the platform part is ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from src.dag import Options
from src.errors import ConfigError
from src.names import safe_name
from src.plan import Plan

MOUNT = "/mnt/data"
LONGEST_TASK = 50  # characters
MANY, TOO_MANY = 200, 400  # tasks: POST /runs takes seconds; is cut by gateways, and 2.1 keeps no more


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What is sent to the server: the IR and its platform part."""

    spec: Mapping[str, Any]
    platform: Mapping[str, Any]


def task_names(plan: Plan) -> dict[str, str]:
    """Return the pipeline's name of each task; raises ConfigError where two would be equal or there are too many."""
    names: dict[str, str] = {}
    owners: dict[str, str] = {}
    for step in plan.steps:
        for shard, task in enumerate(step.tasks):
            suffix = f"-{shard}" if len(step.tasks) > 1 else ""
            name = _task_name(step.name, suffix)
            if name in owners:
                raise ConfigError(
                    f"{owners[name]} and {step.name} would both be task {name} of the pipeline",
                    hint="rename one of the two, or change `shards:`",
                )
            owners[name], names[task] = step.name, name
    if len(names) > TOO_MANY:
        raise ConfigError(
            f"{len(names)} tasks are more than a Kubeflow server takes ({TOO_MANY})",
            hint="lower `shards:`, or split the DAG",
        )
    return names


def _task_name(step: str, suffix: str) -> str:
    # Kubeflow calls its own nodes <task>-driver, executor and root, and takes one for the other.
    own = safe_name(step)
    if not suffix and (own in ("executor", "root") or own.endswith("-driver")):
        suffix = "-step"
    return own[: LONGEST_TASK - len(suffix)].rstrip("-") + suffix


def compile_pipeline(
    plan: Plan,
    *,
    images: Mapping[str, str],
    claim: str,
    pull_secret: str | None = None,
    pull_policy: str | None = None,
    run: str,
    labels: Mapping[str, str],
) -> Pipeline:
    """Return the pipeline of a plan.

    images: the image reference of each step, by digest where it has one. claim: name of the claim that every task
    mounts. run: our id of the run. labels: put on every pod; they must be the same on all tasks, for servers of 2.1
    use the first one's.
    """
    names = task_names(plan)
    from google.protobuf.json_format import MessageToDict
    from kfp import dsl  # noqa: TID251  # this is the door

    def build() -> None:
        tasks: dict[str, Any] = {}
        for step in plan.steps:
            parents = [tasks[names[task]] for one in plan.steps if one.name in step.parents for task in one.tasks]
            for task in step.tasks:
                made = dsl.container_component(_component(names[task], images[step.name], [task, run]))()
                made.set_caching_options(enable_caching=False)
                _limit(made, step.options)
                tasks[names[task]] = made.after(*parents) if parents else made

    build.__name__ = "pipeline"
    compiled = dsl.pipeline(name=safe_name(plan.dag.name))(build)
    executors = {
        f"exec-{names[task]}": _platform(step.options, claim, pull_secret, pull_policy, labels)
        for step in plan.steps
        for task in step.tasks
    }
    return Pipeline(
        spec=MessageToDict(compiled.pipeline_spec),
        platform={"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}},
    )


def _component(name: str, image: str, args: list[str]) -> Callable[[], Any]:
    from kfp import dsl  # noqa: TID251  # this is the door

    def run() -> Any:
        # The task's name is the only word of the user's here, and has no character that Argo or Kubernetes expands.
        return dsl.ContainerSpec(image=image, command=["python3", f"{MOUNT}/.autopipe/step.py"], args=args)

    run.__name__ = name
    run.__annotations__ = {}  # what the SDK would read as outputs
    return run


def _limit(task: Any, options: Options) -> None:
    """Set a task's resources; requests are the limits, so that what is promised is there."""
    if options.cpu is not None:
        cpu = f"{round(options.cpu * 1000)}m"
        task.set_cpu_request(cpu).set_cpu_limit(cpu)
    if options.memory is not None:
        memory = f"{-(-options.memory // 1024)}Ki"
        task.set_memory_request(memory).set_memory_limit(memory)
    if options.gpu:
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(options.gpu)


def _platform(
    options: Options, claim: str, pull_secret: str | None, pull_policy: str | None, labels: Mapping[str, str]
) -> dict[str, Any]:
    config: dict[str, Any] = {
        "pvcMount": [{"constant": claim, "mountPath": MOUNT}],
        "podMetadata": {"labels": dict(labels)},
    }
    if pull_secret:
        config["imagePullSecret"] = [{"secretName": pull_secret}]
    if pull_policy:
        config["imagePullPolicy"] = pull_policy
    if options.node_selector:
        config["nodeSelector"] = {"labels": dict(options.node_selector)}
    if options.tolerations:
        config["tolerations"] = [dict(toleration) for toleration in options.tolerations]
    if options.secrets:
        config["secretAsEnv"] = [
            {"secretName": secret, "keyToEnv": [{"secretKey": key, "envVar": variable}]}
            for variable, (secret, key) in sorted(options.secrets.items())
        ]
    return config
