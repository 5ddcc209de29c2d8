"""Builds one image: sends the context, tells what the engine does, and finds the line that is wrong."""

import collections
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from src.engine import RefusalError, explain_answer, refusals
from src.errors import ImageError
from src.image.blame import STEP, explain_failure, name_step
from src.image.context import stream_context
from src.image.recipe import AFTER_SHARED, Recipe, list_members
from src.step import TAIL_LINES

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door

log = logging.getLogger("autopipe")
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_RUNNING = " ---> Running in "
_NOISE = re.compile(r" ---> |Removing intermediate container |Successfully ")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be built, and how."""

    recipe: Recipe
    pins: Mapping[str, str]  # what to build on for each base image
    tag: str
    labels: tuple[str, str]  # see add_labels
    platform: str
    build_args: Mapping[str, str]
    nocache: bool


def build_image(order: Order, client: "APIClient", check: Callable[[], None], shared: Callable[[], None]) -> str:
    """Build and tag an image; return its ID.

    check: called when the component's files are read; what it raises ends the build. shared: called when the layers
    that other components may have too are there. Raises ImageError.
    """
    name = order.recipe.component
    members, dockerfile = list_members(order.recipe, order.pins, order.build_args, order.labels)
    context = stream_context(name, members, check)
    events = client.build(
        fileobj=cast(Any, context),  # whatever can be read in pieces
        custom_context=True,
        dockerfile=dockerfile,
        tag=order.tag,
        platform=order.platform,
        buildargs=dict(order.build_args),
        nocache=order.nocache,
        rm=True,
        forcerm=True,
        decode=True,
    )
    return _follow(order.recipe, _translate_refusal(order.recipe, events), shared)


def _translate_refusal(recipe: Recipe, events: Iterator[Any]) -> Iterator[dict[str, Any]]:
    try:
        with refusals():
            yield from events
    except RefusalError as error:
        if error.status != 400:
            raise explain_answer(error.text) from error
        raise ImageError(
            f"component {recipe.component}: the engine refuses its Dockerfile: {error.text}",
            hint=f"correct {recipe.folder / 'Dockerfile'}" if recipe.own else "see BUILD_ARGS and the base image",
        ) from error


def _follow(recipe: Recipe, events: Iterator[dict[str, Any]], shared: Callable[[], None]) -> str:
    """Read a build's events to their end; return the image's ID."""
    tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
    found, step, rest = "", "", ""
    for event in events:
        if "error" in event:
            raise explain_failure(recipe, step, str(event["error"]), tuple(tail))
        if "aux" in event:
            found = event["aux"].get("ID", found)
        *lines, rest = (rest + _CONTROL.sub("", event.get("stream", ""))).replace("\r", "\n").split("\n")
        for line in lines:
            begun = STEP.match(line)
            if begun:
                step, rest = line, ""
                tail.clear()
                if begun[2] == AFTER_SHARED:
                    shared()
                log.debug("%s: step %s: %s", recipe.component, begun[1], " ".join(begun[2].split()))
            elif line.startswith(_RUNNING) and (begun := STEP.match(step)) and begun[2].startswith("RUN"):
                log.info("%s: step %s: %s", recipe.component, begun[1], name_step(begun[2]))
            elif line.strip() and not _NOISE.match(line):
                tail.append(line.rstrip())
                log.debug("%s | %s", recipe.component, line.rstrip())
    if not found:
        raise ImageError(
            f"component {recipe.component}: the engine stopped in the middle of its build",
            details=tuple(tail),
            hint="see whether the engine runs: docker info; the same command goes on from the last finished step",
        )
    return found
