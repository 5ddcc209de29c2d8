"""What images a plan needs: their keys, and which of them are there already."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from src.components import component_sum
from src.errors import FetchError
from src.image.base import Base, native_platform, resolve_base
from src.image.dockerfile import read_instructions
from src.image.lookup import Lookup
from src.image.place import Place
from src.image.recipe import Recipe, read_recipe, stub_texts
from src.image.reference import Reference
from src.image.usage import KEY, built_ids
from src.plan import Plan
from src.settings import Settings
from src.step import SAVE_MEDIA
from src.sums import SumMemory

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door

VERSION = 1
"""Part of every key: raised when the same files would give another image."""

ABREAST = 16
"""Questions to registries and the engine at once."""

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The image of one component, whether it is there or not."""

    recipe: Recipe
    files: str  # the sum of the component's files
    media: Mapping[str, str]  # sums of the media that the image carries, by name
    bases: tuple[Base, ...]
    platform: str
    build_args: Mapping[str, str]
    key: str
    reference: Reference


def survey(
    plan: Plan,
    folders: Mapping[str, Path],
    settings: Settings,
    place: Place,
    client: "APIClient | None",
    lookup: Lookup,
    media: Mapping[str, Path],
) -> list[Wanted]:
    """Return what a plan needs, by its order.

    media: files that the image of save-media shall carry. Raises ImageError, FetchError.
    """
    recipes = [
        read_recipe(step.name, folders[step.name], step.options, settings, media if step.name == SAVE_MEDIA else {})
        for step in plan.steps
    ]
    bases = ask_all(
        (base for recipe in recipes for base in recipe.bases), lambda name: resolve_base(name, client, lookup)
    )
    platform = settings.image_platform or native_platform(client)
    wanted = []
    with SumMemory(settings.cache_dir) as memory:
        for recipe in recipes:
            files = component_sum(recipe.component, recipe.folder, memory)
            carried = sum_media(recipe, memory)
            own = tuple(bases[name] for name in recipe.bases)
            build_args = used_args(recipe, settings.build_args)
            key = component_key(
                recipe, files, [base.identity for base in own], platform, build_args=build_args, media=carried
            )
            wanted.append(
                Wanted(
                    recipe=recipe,
                    files=files,
                    media=carried,
                    bases=own,
                    platform=platform,
                    build_args=build_args,
                    key=key,
                    reference=place.name(recipe.component, key),
                )
            )
    return wanted


def sum_media(recipe: Recipe, memory: SumMemory) -> dict[str, str]:
    """Return the sums of the media that an image carries, by name; raises FetchError for a file that is not there."""
    try:
        return {name: memory.sha256(path, path.stat()) for name, path in sorted(recipe.media.items())}
    except OSError as error:
        raise FetchError(
            f"cannot read the media {error.filename}: {error.strerror}", hint="check its rights, or give --media FILE"
        ) from error


def component_key(
    recipe: Recipe,
    files: str,
    bases: Iterable[str],
    platform: str,
    *,
    build_args: Mapping[str, str],
    media: Mapping[str, str],
) -> str:
    """Return the key of a component's image, in hex: equal where all that goes into it is equal; pure.

    files: the sum of the component's files. bases: what its base images are today. media: sums by name.
    """
    content = {
        "version": VERSION,
        "files": files,
        "dockerfile": recipe.text,
        "requirements": hashlib.sha256(recipe.requirements).hexdigest(),  # taken though .dockerignore may drop them
        "bases": list(bases),
        "platform": platform,
        "build_args": dict(build_args),
        "stub": [] if recipe.own else stub_texts(),
        "media": dict(media),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def used_args(recipe: Recipe, build_args: Mapping[str, str]) -> dict[str, str]:
    """Return the build arguments that a recipe declares: no others reach its build."""
    declared = {
        word.partition("=")[0]
        for one in read_instructions(recipe.text)
        if one.word == "ARG"
        for word in one.rest.split()
    }
    return {name: value for name, value in sorted(build_args.items()) if name in declared}


def find_in_registry(wanted: Iterable[Wanted], lookup: Lookup) -> dict[str, str]:
    """Return the digests of the images that the registry has, by component."""
    names = {one.recipe.component: one.reference for one in wanted}
    found = ask_all(names.values(), lookup.find)
    return {component: digest for component, name in names.items() if (digest := found[name])}


def find_in_engine(wanted: Iterable[Wanted], client: "APIClient", settings: Settings) -> dict[str, str]:
    """Return the IDs of the images that the engine has, by key.

    Images that somebody made from ours have inherited our labels: taken are those with a name of ours only, or that we
    know to have made.
    """
    listed = [(one["Labels"][KEY], one) for one in client.images(filters={"label": KEY})]
    found = {}
    for key in {one.key for one in wanted}:
        ours = [one for label, one in listed if label == key and is_named_by_us(one, key)]
        known = [one for label, one in listed if label == key and one["Id"] in built_ids(key, settings)]
        newest = max(ours or known, key=lambda one: one["Created"], default=None)
        if newest:
            found[key] = str(newest["Id"])
    return found


def is_named_by_us(listed: Mapping[str, object], key: str) -> bool:
    """Whether one of an image's names is such as we give for a key."""
    tags = listed.get("RepoTags")
    return isinstance(tags, list) and any(str(tag).endswith(f":{key}") for tag in tags)


def ask_all(questions: Iterable[Key], answer: Callable[[Key], Value]) -> dict[Key, Value]:
    """Answer each different question once, many at a time."""
    different = list(dict.fromkeys(questions))
    if len(different) == 1:
        return {different[0]: answer(different[0])}
    with ThreadPoolExecutor(ABREAST) as pool:
        return dict(zip(different, pool.map(answer, different), strict=True))
