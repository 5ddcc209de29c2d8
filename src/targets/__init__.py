"""Where steps run: each target is a module with the functions of Target, imported when it is asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from src.errors import ConfigError
from src.plan import Plan
from src.progress import Progress
from src.record import Run
from src.settings import Settings
from src.step import Record


class Target(Protocol):
    """What the pipeline manager asks of a target."""

    def environments(
        self, plan: Plan, folders: Mapping[str, Path], settings: Settings, *, make: bool
    ) -> dict[str, str]:
        """Return the id of what runs each component, without those that are not known where make is off.

        Two environments with the same id give the same results. Raises ImageError or ConfigError.
        """

    def run(
        self,
        run: Run,
        plan: Plan,
        document: Record,
        folders: Mapping[str, Path],
        settings: Settings,
        progress: Progress,
    ) -> None:
        """Run every step on the volume run.folder; document is its plan.json, folders is where the components lie.

        States and outputs are in the journals afterwards. Raises Interrupted or RunError when it had to give up
        as a whole; a failed step is no exception.
        """


TARGETS: Final = ("kubeflow", "docker", "process")


def load_target(name: str) -> Target:
    """Return one of TARGETS; what it needs takes time to import, and no run needs another's."""
    if name == "kubeflow":
        from src.targets import kubeflow

        return kubeflow
    if name == "docker":
        from src.targets import docker

        return docker
    from src.targets import process

    return process


def choose_target(name: str, settings: Settings, *, fetched: bool) -> tuple[str, str]:
    """Return the target's name, and why; fetched says that the components come from a repository.

    An engine that is set up is taken, whether it answers now or not: what a run does shall not change overnight.
    Raises ConfigError for code from elsewhere that nobody asked to run unconfined, ImageError for a docker context
    that does not exist.
    """
    if name != "auto":
        return name, f"--target {name}"
    if settings.kfp_api_url:
        return "kubeflow", "KFP_API_URL is set"
    from src.engine_place import find_engine

    engine = find_engine(settings)
    if engine:
        return "docker", f"the Docker engine at {engine.host}: {engine.source}"
    if fetched:
        raise ConfigError(
            "components from a repository would run unconfined on this machine, which has no Docker engine",
            hint="install Docker or Podman; or, if you trust them, say so: --target process",
        )
    return "process", "no Docker engine is set up here"
