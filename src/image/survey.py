"""What images a plan needs, and their keys."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from src.components import component_sum
from src.image.base import Base, native_platform, resolve_base
from src.image.keys import component_key, sum_media, used_args
from src.image.lookup import Lookup
from src.image.place import Place
from src.image.recipe import Recipe, read_recipe
from src.image.reference import Reference
from src.plan import Plan
from src.settings import Settings
from src.step import SAVE_MEDIA
from src.sums import SumMemory

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door

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

    @property
    def base(self) -> str:
        """The image that a template is built on; empty where there is none."""
        return self.bases[0].pinned if self.bases else ""


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


def ask_all(questions: Iterable[Key], answer: Callable[[Key], Value]) -> dict[Key, Value]:
    """Answer each different question once, many at a time."""
    different = list(dict.fromkeys(questions))
    if len(different) == 1:
        return {different[0]: answer(different[0])}
    with ThreadPoolExecutor(ABREAST) as pool:
        return dict(zip(different, pool.map(answer, different), strict=True))
