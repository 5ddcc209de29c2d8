"""Target kubeflow: a pipeline on Kubeflow Pipelines over one volume, whose outputs are brought here."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from src.crew import cancelled_by_signals
from src.errors import AutopipeError
from src.plan import Plan
from src.progress import Progress
from src.record import Run
from src.settings import Settings
from src.step import Cancel, Record
from src.stored import lay_all

if TYPE_CHECKING:
    from src.images import Image
    from src.kube.errand import Errand
    from src.kube.job import Job

log = logging.getLogger("autopipe")


def environments(plan: Plan, folders: Mapping[str, Path], settings: Settings, *, make: bool) -> dict[str, str]:
    """Return the id of each component's image; see Target."""
    from src.images import build_images, find_images
    from src.kube.load import loads_images

    _check_plan(plan, settings)
    push = not loads_images(settings)
    found = (build_images if make else find_images)(plan, folders, settings, push=push, carry_media=True)
    return {name: _environment_id(image) for name, image in found.items()}


def check_settings(plan: Plan, settings: Settings) -> None:
    """Raise ConfigError for what a run could not begin with, before anything is made; nothing is asked."""
    from src.kube.kubeconfig import open_cluster
    from src.kube.pipeline import MANY, task_names
    from src.kube.server import read_server

    _check_plan(plan, settings)
    read_server(settings)
    open_cluster(settings)
    tasks = len(task_names(plan))
    if tasks > MANY:
        log.warning("%d tasks: the server may take a minute to accept them, and a gateway may not wait", tasks)


def _check_plan(plan: Plan, settings: Settings) -> None:
    from src.kube.pipeline import task_names
    from src.kube.placement import find_placement

    task_names(plan)
    find_placement(plan, settings.access_mode)


def _environment_id(image: "Image") -> str:
    """Return what tells an image's content, in the words of the docker target: each may take the other's results."""
    return image.digest.rpartition("@")[2] if image.digest else f"docker:{image.id}"


def preview(plan: Plan, folders: Mapping[str, Path], settings: Settings) -> str:
    """Return the pipeline as YAML, as far as it is known: what is made later has a name in angle brackets."""
    from src.images import find_images
    from src.kube.errand import pipeline_text, reference
    from src.kube.load import loads_images
    from src.kube.pipeline import compile_pipeline

    loaded = loads_images(settings)
    found = find_images(plan, folders, settings, push=not loaded, carry_media=True)
    pipeline = compile_pipeline(
        plan,
        images={
            step.name: reference(found[step.name], loaded=loaded)
            if step.name in found
            else f"<image of {step.name}, not built yet>"
            for step in plan.steps
        },
        claim="<claim>",
        run="<run>",
        pull_secret=settings.image_pull_secret,
        pull_policy="IfNotPresent" if loaded else None,
        labels={},
    )
    return pipeline_text(pipeline)


def run(
    run: Run, plan: Plan, document: Record, folders: Mapping[str, Path], settings: Settings, progress: Progress
) -> None:
    """Run every step on the cluster; see Target."""
    from src.image.usage import hold_images
    from src.images import use_images
    from src.kube.errand import Errand
    from src.kube.load import loads_images

    stored = lay_all(run.store, document, run.folder)
    if stored:
        log.info("the results of all steps are here already: nothing to run on the cluster")
    images = use_images(plan, folders, settings, push=not loads_images(settings), carry_media=True)
    errand = Errand(
        run=run,
        plan=plan,
        document=document,
        settings=settings,
        progress=progress,
        images=images,
    )
    if stored:
        if errand.path.exists():
            _tidy(errand)
        return
    with hold_images(plan.dag, [image.key for image in images.values()], settings):
        _work(errand)


def _work(errand: "Errand") -> None:
    from src.kube.patience import StoppedError

    with cancelled_by_signals() as cancel:
        try:
            with _open_job(errand, cancel) as job:
                job.go()
        except StoppedError:
            if not cancel.is_set():
                raise


def _tidy(errand: "Errand") -> None:
    with cancelled_by_signals() as cancel:
        try:
            with _open_job(errand, cancel) as job:
                job.tidy()
        except AutopipeError as error:
            log.warning("what an earlier run left on the cluster could not be removed: %s", error.message)


@contextlib.contextmanager
def _open_job(errand: "Errand", cancel: Cancel) -> "Iterator[Job]":
    from src.kube.api import Api
    from src.kube.job import Job
    from src.kube.kubeconfig import open_cluster
    from src.kube.server import read_server

    cluster = open_cluster(errand.settings, cancel)
    with Api(read_server(errand.settings), stop=cancel) as api:
        yield Job(errand, api, cluster, cancel)
