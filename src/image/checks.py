"""What `--check` asks of the Docker engine and the registry."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.engine import open_engine
from src.engine_place import find_engine
from src.errors import AutopipeError, ImageError
from src.finding import Finding, finding_of
from src.image.base import resolve_base
from src.image.login import Login, find_push_login
from src.image.lookup import Lookup
from src.image.place import choose_place
from src.settings import Settings

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door

TOO_LITTLE = 1 << 30
"""Bytes; with less no image of any size is built."""

LITTLE = 5 << 30


def check_engine(settings: Settings, bases: Iterable[str]) -> Iterator[Finding]:
    """Ask the engine: is it there, may we use it, has it room, has it the base images or can it get them."""
    try:
        engine = find_engine(settings)
        with open_engine(settings) as client, Lookup(settings, client) as lookup:
            where = f"{engine.host} ({engine.source})" if engine else ""
            info = client.info()
            yield Finding(subject="engine", text=f"{_describe(client.version(), info)}, at {where}")
            yield _check_room(info)
            for base in bases:
                yield _check_base(base, client, lookup)
    except AutopipeError as error:
        yield finding_of("engine", error)


def _describe(version: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    components = [one.get("Name", "") for one in version.get("Components") or ()]
    name = "Podman" if any("Podman" in one for one in components) else "Docker"
    memory = int(info.get("MemTotal") or 0) / (1 << 30)
    return (
        f"{name} {version.get('Version')}, {version.get('Os')}/{version.get('Arch')}, "
        f"{info.get('NCPU')} processors, {memory:.1f} Gi of memory"
    )


def _check_room(info: Mapping[str, Any]) -> Finding:
    folder = Path(str(info.get("DockerRootDir") or "/"))
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # the engine's machine is a virtual one, or the folder is not ours to see
        return Finding(subject="room", text=f"unseen: {folder} is the engine's own")
    text = f"{free / (1 << 30):.1f} Gi free for images in {folder}"
    hint = "" if free > LITTLE else "free some: docker system df shows what uses it, docker system prune removes"
    return Finding(subject="room", text=text, fine=free > TOO_LITTLE, hint=hint, status=ImageError.status)


def _check_base(base: str, client: "APIClient", lookup: Lookup) -> Finding:
    subject = "base image"
    try:
        found = resolve_base(base, client, lookup)
    except AutopipeError as error:
        return finding_of(subject, error)
    return Finding(subject=subject, text=f"{base}, {'in the engine' if found.platform else 'to be pulled'}")


def check_registry(settings: Settings, components: Iterable[str]) -> Iterator[Finding]:
    """Ask the registry: is it there, who are we, may we push the images of components."""
    subject = "registry"
    try:
        login = find_push_login(settings)
        place = choose_place(settings, login, push=True)
        with _open_lookup(settings) as lookup:
            names = [place.name(component, "check") for component in components]
            lookup.find(names[0])
            yield Finding(subject=subject, text=f"{settings.registry}, {_who(login)}")
            subject = "push"
            asked = [lookup.check_push(name) for name in names]
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            word = "allowed to" if all(asked) else "not asked, for only the engine reaches the registry:"
            yield Finding(subject=subject, text=f"{word} {names[0].name}{more}")
    except AutopipeError as error:
        yield finding_of(subject, error)


@contextlib.contextmanager
def _open_lookup(settings: Settings) -> Iterator[Lookup]:
    """Give a way to registries, through the engine too where there is one."""
    with contextlib.ExitStack() as stack:
        client = None
        with contextlib.suppress(ImageError):  # check_engine tells
            client = stack.enter_context(open_engine(settings))
        yield stack.enter_context(Lookup(settings, client))


def _who(login: Login | None) -> str:
    if login is None:
        return "nobody is logged in"
    return f"logged in as {login.username or 'the owner of a token'} ({login.source})"
