"""Single questions to the engine about images, their refusals understood."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.engine import RefusalError, explain_answer, refusals
from src.errors import ImageError

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door


def find_image(client: "APIClient", name: str) -> dict[str, Any] | None:
    """Return what the engine says of an image that it has, by name, digest or ID; None when it has none."""
    try:
        with refusals():
            return dict(client.inspect_image(name))
    except RefusalError as error:
        if error.status == 404:
            return None
        raise explain_answer(error.text) from error


def layers_of(client: "APIClient", image_id: str) -> list[str]:
    """Return the IDs of an image's layers, the base's first; no layers of an image that is gone."""
    found = find_image(client, image_id) or {}
    return [str(layer) for layer in (found.get("RootFS") or {}).get("Layers") or ()]


def find_manifest(client: "APIClient", name: str, auth_config: Mapping[str, str]) -> str | None:
    """Return the digest of an image in its registry as the engine sees it; None when there is none, or none for us.

    Raises ImageError when the engine cannot ask either.
    """
    try:
        with refusals():
            return str(client.inspect_distribution(name, auth_config=dict(auth_config))["Descriptor"]["digest"])
    except RefusalError as error:
        if error.status in (401, 403, 404) or "manifest unknown" in error.text:
            return None
        raise ImageError(
            f"neither this machine nor the engine can ask for {name}",
            details=(error.text,),
            hint="see whether its registry is up and the network is there; then give the same command again",
        ) from error


def pull_image(client: "APIClient", name: str, digest: str, platform: str, auth_config: Mapping[str, str]) -> bool:
    """Let the engine pull name@digest; return false when it has that digest for another platform.

    Raises ImageError with what went wrong.
    """
    try:
        with refusals():
            events = client.pull(
                name, tag=digest, stream=True, decode=True, platform=platform, auth_config=dict(auth_config)
            )
            text = next((str(event["error"]) for event in events if "error" in event), "")
    except RefusalError as error:
        text = error.text
    if "Cannot overwrite digest" in text:
        return False
    if "no space left on device" in text:
        raise explain_answer(text)
    if text:
        raise ImageError(
            f"base image {name} cannot be pulled for {platform}",
            details=(text,),
            hint="see whether its registry is up, and whether it has that platform",
        )
    return True
