"""Stage 3 for targets that run containers: every component becomes an image, built once for its content."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from src.plan import Plan
from src.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of a component that is in the engine, or in the registry, or in both."""

    component: str
    key: str  # the component key
    reference: str  # <registry>/<namespace>/<safe name>:<key>
    id: str | None  # the engine's, sha256:…; None when the engine has it not
    digest: str | None  # <registry>/<namespace>/<safe name>@sha256:…; None when the registry was not asked, or has none


def build_images(
    plan: Plan, folders: Mapping[str, Path], settings: Settings, *, push: bool, rebuild: bool = False
) -> dict[str, Image]:
    """Return the image of each step; those that are missing are built, and pushed where asked.

    push: they shall be in the registry; else in the engine. rebuild: build them again whatever is there.
    Raises ImageError, FetchError for a component that cannot be read, ConfigError before any work.
    """
    raise NotImplementedError


def find_images(plan: Plan, folders: Mapping[str, Path], settings: Settings, *, push: bool) -> dict[str, Image]:
    """Return the images that are there already, in the registry (push) or in the engine; nothing is made."""
    raise NotImplementedError
