"""What a client wants of a cluster: the run, its plan, the images, and the names of all that will be made there."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from src.images import Image
from src.kube.claim import ClaimSpec, default_size
from src.kube.cluster import Cluster
from src.kube.labels import CLAIM, Origin, origin_of
from src.kube.load import load_images, loads_images
from src.kube.pipeline import Pipeline, compile_pipeline, task_names
from src.kube.placement import find_placement
from src.kube.pod import HelperSpec
from src.kube.server import clean_server_url
from src.kube.state import ClusterRun, plan_sum, state_path
from src.plan import Plan
from src.progress import Progress
from src.record import Run, write_text
from src.settings import Settings
from src.step import SAVE_MEDIA, Record
from src.stored import find_stored


@dataclass(frozen=True, kw_only=True)
class Errand:
    """All that a job has to know; what it has to make bears names that follow from it."""

    run: Run
    plan: Plan
    document: Record  # plan.json
    settings: Settings
    progress: Progress
    images: Mapping[str, Image]  # of each step

    @property
    def loaded(self) -> bool:
        """Whether images are loaded into the nodes, and are in no registry."""
        return loads_images(self.settings)

    def reference(self, step: str) -> str:
        """Return the name of a step's image in pods: by digest, or by tag where it was loaded."""
        return reference(self.images[step], loaded=self.loaded)

    @property
    def path(self) -> Path:
        """The record of what this DAG has on the cluster."""
        return state_path(self.run.folder.parent, self.plan.dag, self.settings)

    @property
    def names(self) -> dict[str, str]:
        """The pipeline's name of each task."""
        return task_names(self.plan)

    @property
    def sum(self) -> str:
        """The sum of the plan: runs of the same may stand in for each other."""
        return plan_sum(self.plan, self.document)

    @property
    def media(self) -> dict[str, Path] | None:
        """Where the media is on this disk, by name; None: it is in the image of save-media."""
        if self.settings.media_transport == "image":
            return None
        return {entry["name"]: self.run.store.media / entry["sha256"] for entry in self.document["media"]}

    @cached_property
    def files_here(self) -> dict[str, Path]:
        """The files on this disk that may come from the volume too, by sha256, as they were before the run."""
        store = self.run.store
        stored, _ = find_stored(store, self.document)
        outputs = [item for step, records in stored.items() for item in store.inputs(step, records)]
        media = {entry["sha256"]: store.media / entry["sha256"] for entry in self.document["media"]}
        return {**{item.entry["sha256"]: item.path for item in outputs}, **media}

    @property
    def media_size(self) -> int:
        """The size of the media in bytes."""
        return sum(entry["size"] for entry in self.document["media"])

    def page(self, run_id: str) -> str:
        """Return the address of a run in the pipelines UI."""
        return f"{clean_server_url(self.settings.kfp_api_url or '')}/#/runs/details/{run_id}"

    def origin(self, run: str) -> Origin:
        """Return what labels say of the things of a run."""
        return origin_of(self.plan.dag, run, os.environ, socket.gethostname())

    def document_of(self, state: ClusterRun) -> Record:
        """Return plan.json as it is on the volume: steps run as that run, and files one by one where no cpu is set."""
        tasks = {name: {**task, "parallel": task["parallel"] or 1} for name, task in self.document["tasks"].items()}
        return {**self.document, "run": state.run, "tasks": tasks}

    def load(self, cluster: Cluster) -> None:
        """Load the images into the nodes, where that is how they get there; raises ImageError."""
        load_images([(image.reference, image.id or "") for image in self.images.values()], cluster, self.settings)

    def claim_spec(self, state: ClusterRun) -> ClaimSpec:
        """Return the claim of a run."""
        return ClaimSpec(
            name=state.claim,
            origin=self.origin(state.run),
            size=self.settings.storage_size or default_size(self.media_size, len(self.plan.steps)),
            access_mode=self.settings.access_mode,
            storage_class=self.settings.storage_class,
        )

    def helper_spec(self, state: ClusterRun) -> HelperSpec:
        """Return the helper pod of a run."""
        return HelperSpec(
            claim=state.claim,
            origin=self.origin(state.run),
            image=self.reference(SAVE_MEDIA),
            placement=find_placement(self.plan, self.settings.access_mode),
            pull_secret=self.settings.image_pull_secret,
            pull_policy="IfNotPresent" if self.loaded else None,
        )

    def pipeline(self, state: ClusterRun) -> Pipeline:
        """Compile the pipeline of a run; it is kept in the run's folder too."""
        made = compile_pipeline(
            self.plan,
            images={name: self.reference(name) for name in self.images},
            claim=state.claim,
            pull_secret=self.settings.image_pull_secret,
            pull_policy="IfNotPresent" if self.loaded else None,
            run=state.run,
            labels={**self.origin(state.run).labels(), CLAIM: state.claim},
        )
        write_text(self.run.folder / "pipeline.yaml", pipeline_text(made))
        return made


def reference(image: Image, *, loaded: bool) -> str:
    """Return the name of an image in pods: by digest, or by tag where it was loaded into the nodes."""
    return image.reference if loaded else image.digest or image.reference


def pipeline_text(pipeline: Pipeline) -> str:
    """Return a pipeline as the file that the pipelines UI takes: two YAML documents."""
    import yaml  # noqa: TID251  # written for people, never read by us

    return yaml.safe_dump_all([dict(pipeline.spec), dict(pipeline.platform)], sort_keys=True, width=110)
