"""Which of the images that are wanted are there, in the registry or in the engine."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.image.calls import find_image
from src.image.lookup import Lookup
from src.image.reference import Reference, parse_reference
from src.image.survey import Wanted, ask_all
from src.image.usage import BUILDER, KEY, builder_of, built_ids
from src.settings import Settings

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door


def find_in_registry(wanted: Iterable[Wanted], lookup: Lookup) -> dict[str, str]:
    """Return the digests of the images that the registry has, by component."""
    names = {one.recipe.component: one.reference for one in wanted}
    found = ask_all(names.values(), lookup.find)
    return {component: digest for component, name in names.items() if (digest := found[name])}


@dataclass(frozen=True, kw_only=True)
class Present:
    """An image that the engine has."""

    id: str
    names: tuple[str, ...]  # name:tag

    def has_name(self, reference: Reference) -> bool:
        """Whether it has a name, which engines shorten where Docker Hub is meant."""
        return any(known and known.text == reference.text for known in map(parse_reference, self.names))


def find_in_engine(wanted: Iterable[Wanted], client: "APIClient", settings: Settings) -> dict[str, Present]:
    """Return the images that the engine has, by key.

    Only those made with our cache count: others may be removed by whoever made them.
    """
    references = {one.key: one.reference for one in wanted}
    named = ask_all(references.values(), lambda reference: find_image(client, reference.text))
    found = {}
    for key, reference in references.items():
        image = named[reference] or {}
        labels = (image.get("Config") or {}).get("Labels") or {}
        if (labels.get(BUILDER), labels.get(KEY)) == (builder_of(settings), key):
            found[key] = Present(id=image["Id"], names=tuple(image.get("RepoTags") or ()))
    missing = references.keys() - found.keys()
    return {**found, **_find_by_label(missing, client, settings)} if missing else found


def _find_by_label(keys: Collection[str], client: "APIClient", settings: Settings) -> dict[str, Present]:
    """Return the images that have other names, or none any more; an engine takes 0.1 s and more to list what it has.

    Images that somebody made from ours have inherited our labels, but have neither a name of ours nor an ID that we
    know.
    """
    found: dict[str, Present] = {}
    listed = client.images(filters={"label": f"{BUILDER}={builder_of(settings)}"})
    for one in sorted(listed, key=lambda one: int(one["Created"])):  # the newest wins
        key = str((one.get("Labels") or {}).get(KEY))
        if key in keys and (is_named_by_us(one, key) or one["Id"] in built_ids(key, settings)):
            found[key] = Present(id=one["Id"], names=tuple(one.get("RepoTags") or ()))
    return found


def give_name(one: Wanted, present: Present, client: "APIClient") -> str:
    """Make sure that an image that the engine has has the name that is wanted; return its ID."""
    if not present.has_name(one.reference):
        client.tag(present.id, one.reference.name, one.reference.tag)
    return present.id


def is_named_by_us(listed: Mapping[str, object], key: str) -> bool:
    """Whether one of an image's names is such as we give for a key."""
    tags = listed.get("RepoTags")
    return isinstance(tags, list) and any(str(tag).endswith(f":{key}") for tag in tags)
