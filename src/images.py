"""Stage 3 for targets that run containers: every component becomes an image, built once for its content."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.engine import open_engine
from src.errors import ImageError
from src.image.login import find_login, find_push_login
from src.image.lookup import Lookup
from src.image.place import choose_place
from src.image.presence import find_in_engine, find_in_registry, give_name
from src.image.prune import prune_images, remove_rests
from src.image.survey import Wanted, survey
from src.image.usage import building, note_use
from src.image.workshop import Workshop
from src.media_files import find_media
from src.names import safe_name
from src.plan import Plan
from src.progress import count
from src.settings import Settings

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door

log = logging.getLogger("autopipe")
BUILD_PATIENCE = 6 * 3600
"""Seconds that a build or a push may say nothing: a compiler that is at work prints little."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of a component that is in the engine, or in the registry, or in both."""

    component: str
    key: str  # the component key
    reference: str  # <registry>/<namespace>/<safe name>:<key>
    id: str | None  # the engine's, sha256:…; None when the engine has it not, or was not asked
    digest: str | None  # <registry>/<namespace>/<safe name>@sha256:…; None when the registry was not asked, or has none


def build_images(
    plan: Plan,
    folders: Mapping[str, Path],
    settings: Settings,
    *,
    push: bool,
    rebuild: bool = False,
    carry_media: bool = False,
) -> dict[str, Image]:
    """Return the image of each step; those that are missing are built, and pushed where asked.

    push: they shall be in the registry; else in the engine. rebuild: build them again whatever is there.
    carry_media: the image of save-media has the DAG's media in MEDIA_FOLDER, if MEDIA_TRANSPORT=image asks for it.
    What no DAG and no kept run uses any more is removed from the engine. Raises ImageError, FetchError for a component
    that cannot be read, ConfigError before any work.
    """
    with _surroundings(settings, push=push) as around:
        if around.client:
            remove_rests(around.client, settings)
        with building(settings):
            wanted = _survey(plan, folders, settings, around, push=push, carry_media=carry_media)
            rebuild = rebuild or settings.rebuild
            found = {} if rebuild else _find(wanted, settings, around, push=push, rename=True)
            missing = [one for one in wanted if one.recipe.component not in found]
            if missing:
                found |= _make(missing, plan, settings, around, push=push, rebuild=rebuild)
            _tell(wanted, missing, push=push)
            note_use(plan.dag, {one.key for one in wanted}, settings)
        if around.client:
            prune_images(around.client, settings)
    return {one.recipe.component: found[one.recipe.component] for one in wanted}


def find_images(
    plan: Plan,
    folders: Mapping[str, Path],
    settings: Settings,
    *,
    push: bool,
    carry_media: bool = False,
) -> dict[str, Image]:
    """Return the images that are there already, in the registry (push) or in the engine; nothing is made.

    Raises what build_images raises before it builds.
    """
    return _look(plan, folders, settings, push=push, carry_media=carry_media, rename=False)


def use_images(
    plan: Plan,
    folders: Mapping[str, Path],
    settings: Settings,
    *,
    push: bool,
    carry_media: bool = False,
) -> dict[str, Image]:
    """Return the image of each step; they were made a moment ago. Raises ImageError when one has gone since."""
    found = _look(plan, folders, settings, push=push, carry_media=carry_media, rename=True)
    missing = [step.name for step in plan.steps if step.name not in found]
    if missing:
        raise ImageError(f"the image of {missing[0]} is not there any more", hint="give the same command again")
    return found


@dataclass(frozen=True, kw_only=True)
class _Surroundings:
    """The engine, where it is at work, and the registries."""

    client: "APIClient | None"
    failure: ImageError | None  # why there is no engine
    lookup: Lookup


@contextlib.contextmanager
def _surroundings(settings: Settings, *, push: bool) -> Iterator[_Surroundings]:
    """Open the engine and a way to registries; images that are all pushed already need no engine."""
    with contextlib.ExitStack() as stack:
        client, failure = None, None
        try:
            client = stack.enter_context(open_engine(settings))
        except ImageError as error:
            if not push:
                raise
            failure = error
        yield _Surroundings(client=client, failure=failure, lookup=stack.enter_context(Lookup(settings, client)))


def _look(
    plan: Plan, folders: Mapping[str, Path], settings: Settings, *, push: bool, carry_media: bool, rename: bool
) -> dict[str, Image]:
    with _surroundings(settings, push=push) as around:
        wanted = _survey(plan, folders, settings, around, push=push, carry_media=carry_media)
        return _find(wanted, settings, around, push=push, rename=rename)


def _survey(
    plan: Plan,
    folders: Mapping[str, Path],
    settings: Settings,
    around: _Surroundings,
    *,
    push: bool,
    carry_media: bool,
) -> list[Wanted]:
    login = find_push_login(settings) if push else find_login(settings.registry, settings)
    place = choose_place(settings, login, push=push)
    carried = carry_media and settings.media_transport == "image"
    media = find_media(plan.dag.media) if carried else {}
    return survey(plan, folders, settings, place, around.client, around.lookup, media)


def _find(
    wanted: list[Wanted], settings: Settings, around: _Surroundings, *, push: bool, rename: bool
) -> dict[str, Image]:
    if push:
        digests = find_in_registry(wanted, around.lookup)
        return {name: _image(one, None, digests[name]) for one in wanted if (name := one.recipe.component) in digests}
    if around.client is None:
        return {}
    there = find_in_engine(wanted, around.client, settings)
    for one in wanted if rename else ():
        if one.key in there:
            give_name(one, there[one.key], around.client)
    return {one.recipe.component: _image(one, there[one.key].id, None) for one in wanted if one.key in there}


def _make(
    missing: list[Wanted], plan: Plan, settings: Settings, around: _Surroundings, *, push: bool, rebuild: bool
) -> dict[str, Image]:
    if around.failure:
        raise around.failure
    with open_engine(settings, patience=BUILD_PATIENCE) as client:
        workshop = Workshop(
            client,
            around.lookup,
            settings,
            dag=safe_name(plan.dag.name),
            login=find_push_login(settings) if push else None,
            push=push,
            rebuild=rebuild,
        )
        built = {} if rebuild else find_in_engine(missing, client, settings)
        made = workshop.make(missing, built)
    return {
        one.recipe.component: _image(one, made[one.recipe.component].id, made[one.recipe.component].digest)
        for one in missing
    }


def _image(one: Wanted, image_id: str | None, digest: str | None) -> Image:
    return Image(
        component=one.recipe.component,
        key=one.key,
        reference=one.reference.text,
        id=image_id,
        digest=f"{one.reference.name}@{digest}" if digest else None,
    )


def _tell(wanted: list[Wanted], missing: list[Wanted], *, push: bool) -> None:
    where = wanted[0].reference.registry if push else "the engine"
    kept = len(wanted) - len(missing)
    if kept:
        log.info("%s in %s already", count(kept, "image"), where)
