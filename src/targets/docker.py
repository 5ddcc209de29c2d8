"""Target docker: one container a task over a bind mount of the run's folder, in the images that a cluster would run."""

import contextlib
import ipaddress
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from src import step as launcher
from src.containers.calls import Calls, RefusedError, SilentError
from src.containers.dock import Dock
from src.containers.leftovers import remove_containers, remove_orphans
from src.containers.traits import Traits, read_traits
from src.crew import Crew, cancelled_by_signals
from src.dag import Options
from src.engine import find_engine, open_engine
from src.errors import ConfigError, ImageError, RunError
from src.image.usage import hold_images
from src.images import Image, build_images, find_images, use_images
from src.plan import Plan
from src.progress import Progress, count
from src.record import PRIVATE, Run
from src.settings import Settings
from src.step import Cancel, Record

log = logging.getLogger("autopipe")

AHEAD = 2
"""Containers beyond the number of processors: they start, which takes mostly waiting, and wait for a slot."""


def environments(plan: Plan, folders: Mapping[str, Path], settings: Settings, *, make: bool) -> dict[str, str]:
    """Return what runs each component: its image; see Target. Nothing is pushed."""
    check_near(settings)
    for step in plan.steps:
        _secrets(step.name, step.options)
    if make:
        images = build_images(plan, folders, settings, push=False)
    else:
        images = find_images(plan, folders, settings, push=False)
    return {name: _environment_id(image) for name, image in images.items()}


def _environment_id(image: Image) -> str:
    return image.digest.rpartition("@")[2] if image.digest else f"docker:{image.id}"


def run(
    run: Run, plan: Plan, document: Record, folders: Mapping[str, Path], settings: Settings, progress: Progress
) -> None:
    """Run every task in a container of its own, as soon as its parents are complete; see Target."""
    images = use_images(plan, folders, settings, push=False)
    with (
        open_engine(settings) as client,
        hold_images(plan.dag, [image.key for image in images.values()], settings, run=run.folder),
        cancelled_by_signals() as cancel,
    ):
        traits = read_traits(client.info(), os.getuid(), os.getgid())
        _warn_of_limits(plan, traits)
        calls = Calls(client, cancel)
        dock = Dock(
            run,
            plan,
            document,
            {name: str(image.id) for name, image in images.items()},
            {step.name: {**settings.proxies, **_secrets(step.name, step.options)} for step in plan.steps},
            traits,
            calls,
            cancel,
            progress.echo,
        )
        _prepare(run.folder / PRIVATE, traits)
        try:
            _remove_orphans(calls)
            with dock.at_work():
                Crew(run, document, dock.execute, cancel, progress, at_once=traits.cpus + AHEAD).work(plan)
        finally:
            with contextlib.suppress(RefusedError, SilentError):  # then the next start removes them
                remove_containers(calls, run.id, run.folder)
                remove_orphans(calls)
        if dock.lost:
            raise RunError(
                dock.lost, hint="start the engine, then give the same command again: what was done is not run again"
            )


def _prepare(folder: Path, traits: Traits) -> None:
    """Put the launcher onto the volume, and a slot for each of the engine's processors."""
    shutil.copyfile(launcher.__file__, folder / "step.py")
    (folder / "slots").mkdir()
    for number in range(traits.cpus):
        (folder / "slots" / str(number)).touch()


def end_run(run_id: str, folder: Path, settings: Settings) -> int:
    """End what a run that died left at work, its containers; return how many there were. Raises ImageError."""
    if find_engine(settings) is None:
        return 0
    with open_engine(settings) as client:
        try:
            return remove_containers(Calls(client, Cancel()), run_id, folder)
        except (RefusedError, SilentError) as error:
            raise ImageError(
                f"cannot remove the containers of run {run_id}: {error}", hint="see docker ps -a"
            ) from error


def _remove_orphans(calls: Calls) -> None:
    try:
        removed = remove_orphans(calls)
    except (RefusedError, SilentError) as error:
        raise RunError(f"the Docker engine went away: {error}", hint="see whether it runs: docker info") from error
    if removed:
        log.info("removed %s of runs that died", count(removed, "container"))


def check_near(settings: Settings) -> None:
    """Raise ConfigError for an engine on another machine: the run's folder is here."""
    engine = find_engine(settings)
    if engine is None:
        return
    parts = urlsplit(engine.host)
    if parts.scheme == "ssh" or (parts.scheme in ("tcp", "http", "https") and not _is_loopback(parts.hostname or "")):
        raise ConfigError(
            f"the Docker engine at {engine.host} ({engine.source}) is on another machine, which does not see this disk",
            hint="run here with --target process, or name an engine of this machine: DOCKER_HOST=unix:///path/to/socket",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _secrets(step: str, options: Options) -> dict[str, str]:
    """Return a step's secrets, from our own environment: here is no cluster that keeps them."""
    missing = [name for name in options.secrets if name not in os.environ]
    if missing:
        secret, key = options.secrets[missing[0]]
        raise ConfigError(
            f"{step} needs {missing[0]}, on a cluster the key {key} of secret {secret}",
            hint=f"for this target set {missing[0]} in the environment: it is passed on",
        )
    return {name: os.environ[name] for name in options.secrets}


def _warn_of_limits(plan: Plan, traits: Traits) -> None:
    for step in plan.steps:
        if step.options.memory and not traits.limits_memory:
            log.warning("%s: this engine cannot limit memory", step.name)
        if step.options.cpu and not traits.limits_cpu:
            log.warning("%s: this engine cannot limit processors", step.name)
        elif step.options.cpu and step.options.cpu > traits.cpus:
            log.warning("%s asks for %g processors, this engine has %d", step.name, step.options.cpu, traits.cpus)
