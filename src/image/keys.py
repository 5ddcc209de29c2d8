"""The key of a component's image: equal where all that goes into it is equal."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from src.errors import FetchError
from src.image.instructions import read_instructions
from src.image.recipe import Recipe, stub_texts
from src.sums import SumMemory

VERSION = 1
"""Part of every key: raised when the same files would give another image."""


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


def is_secret(name: str, value: str) -> bool:
    """Whether a build argument looks like a secret, which an image's history shows to everybody; pure."""
    return bool(urlsplit(value).password or re.search(r"TOKEN|PASSWORD|SECRET|API_KEY", name.upper()))


def sum_media(recipe: Recipe, memory: SumMemory) -> dict[str, str]:
    """Return the sums of the media that an image carries, by name; raises FetchError for a file that is not there."""
    try:
        return {name: memory.sha256(path, path.stat()) for name, path in sorted(recipe.media.items())}
    except OSError as error:
        raise FetchError(
            f"cannot read the media {error.filename}: {error.strerror}", hint="check its rights, or give --media FILE"
        ) from error
