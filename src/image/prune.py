"""Removes what nobody needs any more: images of ours, and what builds that were cut left in the engine."""

import contextlib
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.engine import RefusalError, refusals
from src.image.presence import is_named_by_us
from src.image.usage import BUILDER, KEY, builder_of, built_ids, forget_unused, is_held, is_used, nobody_builds
from src.progress import count
from src.settings import Settings

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door

log = logging.getLogger("autopipe")
LAYER_SECONDS = 24 * 3600
"""How long the finished steps of a build that failed are kept: the next try begins after them."""


def remove_rests(client: "APIClient", settings: Settings) -> None:
    """Remove the containers that builds of ours left when the engine died, if nobody builds now."""
    with nobody_builds(settings) as alone:
        label = f"{BUILDER}={builder_of(settings)}"
        for one in client.containers(all=True, filters={"label": label}) if alone else ():
            with contextlib.suppress(RefusalError), refusals():
                if _is_of_a_build(client.inspect_container(one["Id"])):
                    client.remove_container(one["Id"], v=True, force=True)


def _is_of_a_build(about: Mapping[str, Any]) -> bool:
    """Whether our builder made a container, and not a user who looks into the layers of a build that failed."""
    log = (about.get("HostConfig") or {}).get("LogConfig") or {}
    if log.get("Type") != "none" or not str(about["Config"]["Image"]).startswith("sha256:"):
        return False
    # Those of finished images have KEY: they are runs, of ours or of the user's, but for that of the line that sets it.
    key = (about["Config"].get("Labels") or {}).get(KEY)
    return key is None or any(f"{KEY}={key}" in word for word in about.get("Args") or ())


def prune_images(client: "APIClient", settings: Settings) -> None:
    """Remove our images that no DAG, kept run or run that is going on uses, and old layers of builds that failed.

    Nothing is removed while another process of this cache builds; its own end does that.
    """
    with nobody_builds(settings) as alone:
        if not alone:
            return
        removed = 0
        for one in client.images(filters={"label": f"{BUILDER}={builder_of(settings)}"}):
            key = (one.get("Labels") or {}).get(KEY)
            if key is None:
                _remove_old_layer(client, one)
            elif _is_rest(one, key, settings) or (_is_ours(one, key, settings) and not is_used(key, settings)):
                removed += _remove_image(client, one, key)
        forget_unused(settings)
        if removed:
            log.info("removed %s that nothing uses any more", count(removed, "image"))


def _is_ours(one: Mapping[str, Any], key: str, settings: Settings) -> bool:
    # An image that somebody made from ours has inherited our labels: it is known neither by name nor by ID.
    return is_named_by_us(one, key) or one["Id"] in built_ids(key, settings)


def _is_rest(one: Mapping[str, Any], key: str, settings: Settings) -> bool:
    """Whether an image of ours has no name any more and was built again since."""
    built = built_ids(key, settings)
    return not _names(one) and one["Id"] in built[:-1] and one["Id"] != built[-1] and not is_held(key, settings)


def _names(one: Mapping[str, Any]) -> list[str]:
    return [tag for tag in one.get("RepoTags") or () if tag != "<none>:<none>"]


def _remove_image(client: "APIClient", one: Mapping[str, Any], key: str) -> int:
    names = _names(one)
    ours = [name for name in names if name.endswith(f":{key}")]
    if not names:
        return int(_remove(client, one["Id"]))
    done = [_remove(client, name) for name in ours]  # a name that the user gave it stays, and the image with it
    return int(len(ours) == len(names) and all(done))


def _remove_old_layer(client: "APIClient", one: Mapping[str, Any]) -> None:
    if one["Created"] < time.time() - LAYER_SECONDS:
        _remove(client, one["Id"])


def _remove(client: "APIClient", name: str) -> bool:
    try:
        with refusals():
            client.remove_image(name)
    except RefusalError:  # a container uses it, or it is gone
        return False
    return True
