"""Makes what is missing: bases are pulled, images built and pushed, many at once, until all are there or one fails."""

import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from src.components import component_sum
from src.errors import ImageError
from src.image.base import bring_base
from src.image.build import Order, build_image
from src.image.calls import layers_of
from src.image.keys import is_secret, sum_media
from src.image.lanes import Lanes
from src.image.login import Login
from src.image.lookup import Lookup
from src.image.presence import Present, give_name
from src.image.push import push_image
from src.image.recipe import shared_layers
from src.image.streams import Streams
from src.image.survey import Wanted
from src.image.usage import BUILDER, KEY, builder_of, note_built
from src.settings import Settings
from src.step import cores
from src.sums import SumMemory

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door

log = logging.getLogger("autopipe")
Result = TypeVar("Result")

MOST = 64
"""Threads; most of them wait."""

PUSHES = 4
"""Images on their way to a registry at once; the engine sends several layers of each."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """An image that is there now."""

    id: str
    digest: str | None  # of the registry, when it was pushed


class Workshop:
    """Builds and pushes with one engine; client must be patient with streams."""

    def __init__(
        self,
        client: "APIClient",
        lookup: Lookup,
        settings: Settings,
        *,
        dag: str,
        login: Login | None,
        push: bool,
        rebuild: bool,
    ) -> None:
        self._client = client
        self._lookup = lookup
        self._settings = settings
        self._dag = dag
        self._login = login
        self._push = push
        self._rebuild = rebuild
        self._streams = Streams(client)
        self._builds = threading.Semaphore(settings.build_jobs or cores())
        self._pushes = threading.Semaphore(PUSHES)
        self._pins: dict[str, str] = {}  # what to build on for each base image
        self._makes, self._sends = Lanes(), Lanes()

    def make(self, wanted: Sequence[Wanted], built: Mapping[str, Present]) -> dict[str, Made]:
        """Build what is not built, by key, and push it all where asked; return what is there then, by component.

        The first failure ends the rest. Raises ImageError, FetchError.
        """
        if self._push:
            self._lookup.check_push(wanted[0].reference)  # rather before the builds than after them
        for name in sorted(
            {name for one in wanted for name, value in one.build_args.items() if is_secret(name, value)}
        ):
            log.warning("BUILD_ARGS: whoever has an image can read %s, which looks like a secret", name)
        bases = {base.name: base for one in wanted if one.key not in built for base in one.bases}
        platform = wanted[0].platform
        try:
            self._pins = self._do_all(
                {
                    name: functools.partial(bring_base, base, platform, self._client, self._lookup)
                    for name, base in bases.items()
                }
            )
            return self._do_all({one.recipe.component: functools.partial(self._make, one, built) for one in wanted})
        finally:
            self._streams.close()

    def _do_all(self, jobs: Mapping[str, Callable[[], Result]]) -> dict[str, Result]:
        """Do jobs side by side; the first error, or a signal, ends what the others wait for."""
        with ThreadPoolExecutor(min(len(jobs), MOST) or 1) as pool:
            futures = {pool.submit(self._unless_ended, job): name for name, job in jobs.items()}
            try:
                return {futures[future]: future.result() for future in as_completed(futures)}
            except BaseException:
                self._streams.end()
                self._makes.close()
                self._sends.close()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _unless_ended(self, job: Callable[[], Result]) -> Result:
        if self._streams.ended.is_set():
            raise ImageError("another image has failed")  # nobody hears it: that error was first
        return job()

    def _make(self, one: Wanted, built: Mapping[str, Present]) -> Made:
        present = built.get(one.key)
        if present is None:
            layers = [] if self._rebuild else shared_layers(one.recipe, one.base)
            with self._makes.use(layers) as shared, self._builds:
                image_id = self._unless_ended(functools.partial(self._build, one, shared))
        else:
            image_id = give_name(one, present, self._client)
        if not self._push:
            return Made(id=image_id, digest=None)
        with self._sends.use(layers_of(self._client, image_id)), self._pushes:
            return Made(id=image_id, digest=self._unless_ended(functools.partial(self._send, one)))

    def _build(self, one: Wanted, shared: Callable[[], None]) -> str:
        component, started = one.recipe.component, time.monotonic()
        log.info("%s: building", component)
        order = Order(
            recipe=one.recipe,
            pins=self._pins,
            tag=one.reference.text,
            labels=(
                f"{BUILDER}={builder_of(self._settings)}",
                f'autopipe.dag="{self._dag}" autopipe.component="{component}" {KEY}={one.key}',
            ),
            platform=one.platform,
            build_args={**self._settings.proxies, **one.build_args},
            nocache=self._rebuild,
        )
        image_id = build_image(order, self._client, functools.partial(self._check_unchanged, one), shared)
        note_built(one.key, image_id, self._settings)
        log.info("%s: built in %.1f s", component, time.monotonic() - started)
        return image_id

    def _check_unchanged(self, one: Wanted) -> None:
        """Raise ImageError when the files that were read may be others than the key was made of."""
        if self._streams.ended.is_set():
            raise ImageError("another image has failed")
        with SumMemory(self._settings.cache_dir) as memory:
            files = component_sum(one.recipe.component, one.recipe.folder, memory)
            if files != one.files or sum_media(one.recipe, memory) != one.media:
                raise ImageError(
                    f"the files of component {one.recipe.component} were changed while its image was built",
                    hint="give the same command again",
                )

    def _send(self, one: Wanted) -> str:
        component, started = one.recipe.component, time.monotonic()
        digest = push_image(component, one.reference, self._client, self._login, self._streams.ended)
        log.info("%s: pushed to %s in %.1f s", component, one.reference.name, time.monotonic() - started)
        return digest
