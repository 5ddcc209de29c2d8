"""Target kubeflow: a pipeline on Kubeflow Pipelines over one volume, whose outputs are brought here."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from src.crew import cancelled_by_signals
from src.errors import AutopipeError
from src.plan import Plan
from src.progress import Progress
from src.record import Run
from src.settings import Settings
from src.step import Record
from src.stored import lay_all

if TYPE_CHECKING:
    from src.images import Image

log = logging.getLogger("autopipe")


def environments(plan: Plan, folders: Mapping[str, Path], settings: Settings, *, make: bool) -> dict[str, str]:
    """Return the id of each component's image; see Target."""
    from src.images import build_images, find_images
    from src.kube.load import loads_images
    from src.kube.pipeline import task_names
    from src.kube.placement import find_placement

    task_names(plan)
    find_placement(plan, settings.access_mode)
    push = not loads_images(settings)
    found = (build_images if make else find_images)(plan, folders, settings, push=push)
    return {name: _environment_id(image) for name, image in found.items()}


def _environment_id(image: "Image") -> str:
    """Return what tells an image's content, in the words of the docker target: each may take the other's results."""
    return image.digest.rpartition("@")[2] if image.digest else f"docker:{image.id}"


def run(
    run: Run, plan: Plan, document: Record, folders: Mapping[str, Path], settings: Settings, progress: Progress
) -> None:
    """Run every step on the cluster; see Target."""
    from src.image.usage import hold_images
    from src.images import build_images
    from src.kube.errand import Errand
    from src.kube.load import loads_images

    stored = lay_all(run.store, document, run.folder)
    if stored:
        log.info("the results of all steps are here already: nothing to run on the cluster")
    media = {entry["name"]: run.store.media / entry["sha256"] for entry in document["media"]}
    images = build_images(
        plan,
        folders,
        settings,
        push=not loads_images(settings),
        media=media if settings.media_transport == "image" else None,
    )
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
