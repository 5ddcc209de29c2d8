"""A helper pod at work: started on a claim, asked over whatever way there is, replaced when it is lost."""

import contextlib
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from src.errors import AutopipeError, RunError
from src.kube.cluster import Cluster
from src.kube.cut import CutError
from src.kube.door import Door, NotAllowedError
from src.kube.entrance import PATIENCE, Entrance
from src.kube.labels import helper_name
from src.kube.lines import call
from src.kube.pod import HelperSpec, how_it_ended, pod_body, wait_until_running
from src.step import Record

log = logging.getLogger("autopipe")
T = TypeVar("T")

MOST_PODS = 20  # in the place of lost ones


class Helper:
    """The helper pod of a run. Its functions may be called by several threads.

    named: called with the name of each pod before it is made.
    """

    def __init__(self, cluster: Cluster, spec: HelperSpec, named: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.spec = spec
        self.pod = ""
        self._named = named
        self._entrance = Entrance(cluster)
        self._lock = threading.Lock()
        self._door: Door | None = None
        self.token = ""
        self._pods = 0

    def start(self) -> None:
        """Start a pod and wait until it answers.

        Raises RunError with the reason when it cannot start, ApiError, CutError, StoppedError.
        """
        self.token = secrets.token_urlsafe(32)
        self.pod = helper_name(self.spec.claim)
        self._pods += 1
        self._named(self.pod)
        # Of the token only its sum can be read in the pod, by whoever may read pods.
        token_sum = hashlib.sha256(self.token.encode()).hexdigest()
        self.cluster.create("pods", pod_body(self.spec, self.pod, token_sum, time.time()))
        wait_until_running(self.cluster, self.pod)
        self._door = self._entrance.knock(self.pod, self.token)
        log.debug("the helper pod %s answers over %s", self.pod, self._door.name)

    def stop(self) -> None:
        """Ask for the pod to be deleted."""
        if self._door:
            self._door.close()
        if self.pod:
            self.cluster.delete("pods", self.pod, grace=1)
            self.pod = ""

    @property
    def way(self) -> str:
        """The name of the way over which it is asked: proxy or exec."""
        return self._current().name

    def settle(self) -> None:
        """Give back the room that was taken to find a node: from now on the volume itself holds the pods there."""
        if self.spec.placement.is_big:
            with self._lock:
                old, door = self.pod, self._door
                self.spec = replace(self.spec, placement=self.spec.placement.without_room())
                self.start()
                if door:
                    door.close()
                self.cluster.delete("pods", old, grace=1)

    def call(self, name: str, /, **arguments: Any) -> list[Record]:
        """Return the lines that answer a call, asked for again if need be; raises RefusedError, CutError."""
        return self.repeat(lambda door: list(call(door, name, arguments)))

    def repeat(self, action: Callable[[Door], T]) -> T:
        """Return what action returns, called again with a way that works when one breaks.

        Raises CutError when none works for three minutes, and whatever else action raises.
        """
        start, delay = time.monotonic(), 0.1
        while True:
            self.cluster.pause(0)
            door = self._current()
            try:
                return action(door)
            except NotAllowedError:
                if door.name == "exec":
                    raise
                self._change_to_exec(door)
            except CutError as error:
                if time.monotonic() - start > PATIENCE:
                    raise
                log.debug("%s: trying again", error.message)
                self.cluster.pause(delay)
                delay = min(delay * 2, 10.0)
                self._replace(door)

    def _current(self) -> Door:
        with self._lock:
            if self._door is None:
                raise RunError("the helper pod is not started")
            return self._door

    def _change_to_exec(self, door: Door) -> None:
        with self._lock:
            if self._door is door:
                log.debug("no right to pods/proxy: the volume is reached over pods/exec, which is slower")
                self._door = self._entrance.change_to_exec(self.pod, self.token)

    def _replace(self, door: Door) -> None:
        """Start another pod where that of door has gone, unless another thread has."""
        with self._lock:
            if self._door is not door:
                return
            pod = self.cluster.get("pods", self.pod)
            phase = ((pod or {}).get("status") or {}).get("phase")
            if pod is not None and phase == "Running" and not pod["metadata"].get("deletionTimestamp"):
                return
            why = "it was deleted" if pod is None else how_it_ended(pod)
            if self._pods >= MOST_PODS:
                raise RunError(f"the helper pod is lost again and again: {why}", hint="give the same command again")
            log.info("the helper pod was lost (%s): starting another", why)
            door.close()
            if pod is not None:
                self.cluster.delete("pods", self.pod, grace=1)
            self.start()


@contextlib.contextmanager
def open_helper(cluster: Cluster, spec: HelperSpec, named: Callable[[str], None] = lambda _: None) -> Iterator[Helper]:
    """Give a helper pod on a claim for as long as the block runs; see Helper."""
    helper = Helper(cluster, spec, named)
    try:
        helper.start()
        yield helper
    finally:
        with contextlib.suppress(AutopipeError):  # what is left goes by itself when nobody asks it for an hour
            helper.stop()
