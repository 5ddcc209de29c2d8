"""Target kubeflow: a pipeline on Kubeflow Pipelines over one volume, whose outputs are brought here."""

import logging
from collections.abc import Mapping
from pathlib import Path

from src.crew import cancelled_by_signals
from src.images import Image, build_images, find_images
from src.kube.patience import StoppedError
from src.plan import Plan
from src.progress import Progress
from src.record import Run
from src.settings import Settings
from src.step import Record
from src.stored import lay_all

log = logging.getLogger("autopipe")


def environments(plan: Plan, folders: Mapping[str, Path], settings: Settings, *, make: bool) -> dict[str, str]:
    """Return the id of each component's image; see Target."""
    push = _load_command(settings) is None
    found = (build_images if make else find_images)(plan, folders, settings, push=push)
    return {name: known for name, image in found.items() if (known := _id(image, pushed=push))}


def run(
    run: Run, plan: Plan, document: Record, folders: Mapping[str, Path], settings: Settings, progress: Progress
) -> None:
    """Run every step on the cluster; see Target."""
    from src.kube.api import Api
    from src.kube.cluster import open_cluster
    from src.kube.errand import Errand
    from src.kube.job import Job
    from src.kube.server import read_server

    command = _load_command(settings)
    images = build_images(plan, folders, settings, push=command is None)
    errand = Errand(
        run=run,
        plan=plan,
        document=document,
        settings=settings,
        progress=progress,
        images={name: _reference(image, pushed=command is None) for name, image in images.items()},
        loaded=command is not None,
    )
    if lay_all(run.store, document, run.folder):
        log.info("the results of all steps are here already: nothing to run on the cluster")
        if not errand.path.exists():
            return
    with cancelled_by_signals() as cancel:
        try:
            cluster = open_cluster(settings, cancel)
            with Api(read_server(settings), stop=cancel) as api:
                Job(errand, api, cluster, cancel).go()
        except StoppedError:
            if not cancel.is_set():
                raise


def _load_command(settings: Settings) -> list[str] | None:
    from src.kube.load import context_name, load_command

    return load_command(context_name(settings), settings)


def _id(image: Image, *, pushed: bool) -> str | None:
    """Return what tells the image's content: its digest, or where it is in no registry its ID."""
    return image.digest.rpartition("@")[2] if pushed and image.digest else None if pushed else image.id


def _reference(image: Image, *, pushed: bool) -> str:
    return image.digest if pushed and image.digest else image.reference
