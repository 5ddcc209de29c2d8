"""Base images: what stands behind their names today, and how they come to the engine."""

import logging
import platform as machine
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.errors import ImageError
from src.image.calls import find_image, pull_image
from src.image.lookup import Lookup
from src.image.reference import Reference, parse_reference

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door

log = logging.getLogger("autopipe")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base image: its name in Dockerfiles, and what it is today."""

    name: str
    reference: Reference
    identity: str  # the digest of its registry; the ID where no registry has it; sha256:…
    platform: str | None  # os/architecture of the engine's; None when the engine has it not
    from_registry: bool

    @property
    def pinned(self) -> str:
        """The name to build on, which no push elsewhere can move where there is a digest."""
        return f"{self.reference.name}@{self.identity}" if self.from_registry else self.name


def native_platform(client: "APIClient | None") -> str:
    """Return os/architecture of what the engine builds when nobody says; of this machine when it cannot be asked."""
    if client is None:
        return f"linux/{_MACHINES.get(machine.machine(), machine.machine())}"
    version = client.version()
    return f"{version['Os']}/{version['Arch']}"


def resolve_base(name: str, client: "APIClient | None", lookup: Lookup) -> Base:
    """Return what a base image is: as the engine has it, as the docker command would take it, else its registry.

    Raises ImageError when there is no such image.
    """
    reference = parse_reference(name)
    if reference is None:
        raise ImageError(
            f"the base image {name} is no image's name", hint="write it like python:3.11-slim or host/path:tag"
        )
    known = find_image(client, name) if client else None
    if known:
        digest = _own_digest(known, reference)
        return Base(
            name=name,
            reference=reference,
            identity=digest or known["Id"],
            platform=_platform_of(known),
            from_registry=digest is not None,
        )
    digest = reference.digest or lookup.find(reference)
    if digest is None:
        raise _not_found(name, reference)
    return Base(name=name, reference=reference, identity=digest, platform=None, from_registry=True)


def _own_digest(known: Mapping[str, Any], reference: Reference) -> str | None:
    """Return the digest that the engine has from the registry in the image's name; others say nothing of it."""
    found = [parse_reference(text) for text in known.get("RepoDigests") or ()]
    return next((one.digest for one in found if one and one.name == reference.name), None)


def _platform_of(known: Mapping[str, Any]) -> str:
    variant = known.get("Variant")
    return f"{known['Os']}/{known['Architecture']}" + (f"/{variant}" if variant else "")


def bring_base(base: Base, platform: str, client: "APIClient", lookup: Lookup) -> str:
    """Make sure that the engine has a base image for this platform; return the name to build on.

    What is there under its own name is left alone. Raises ImageError when it cannot be had.
    """
    if base.platform is not None and _fits(base.platform, platform):
        return base.pinned
    if not base.from_registry:
        raise _wrong_platform(base.name, base.platform or "", platform)
    log.info("pulling the base image %s", base.name)
    login = lookup.auth_config(base.reference.registry)
    digest = base.identity
    if base.platform is not None or not pull_image(client, base.reference.name, digest, platform, login):
        # The engine has it for another platform, and takes the digest of a list for one only.
        digest = lookup.find_platform(base.reference, base.identity, platform) or base.identity
        if not pull_image(client, base.reference.name, digest, platform, login):
            raise _wrong_platform(base.name, base.platform or "another platform", platform)
    pinned = f"{base.reference.name}@{digest}"
    found = find_image(client, pinned)
    if found is None:
        raise _not_found(base.name, base.reference)
    if not _fits(_platform_of(found), platform):
        raise _wrong_platform(base.name, _platform_of(found), platform)
    if base.reference.tag and digest == base.identity and find_image(client, base.name) is None:
        client.tag(found["Id"], base.reference.name, base.reference.tag)  # later starts then need no registry
    return pinned


def _fits(actual: str, wanted: str) -> bool:
    return actual == wanted or actual.startswith(f"{wanted}/") or wanted.startswith(f"{actual}/")


def _not_found(name: str, reference: Reference) -> ImageError:
    return ImageError(
        f"base image {name} is not found: {reference.registry} has none of that name, or does not show it",
        hint=f"correct BASE_IMAGE, the options `base_image:` and `python:` or the Dockerfile; "
        f"if it is private: docker login {reference.registry}",
    )


def _wrong_platform(name: str, actual: str, wanted: str) -> ImageError:
    return ImageError(
        f"base image {name} is for {actual}, not for {wanted}",
        hint=f"set IMAGE_PLATFORM={actual}, or take a base image that is made for {wanted}",
    )
