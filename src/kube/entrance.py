"""Which way leads into a helper pod: the proxy, or exec where rights or the network keep the proxy out."""

import time

from src.errors import RunError
from src.kube.cluster import Cluster
from src.kube.cut import CutError
from src.kube.door import Door, NotAllowedError, PodLostError, ProxyDoor
from src.kube.exec_door import ExecDoor
from src.kube.lines import call
from src.kube.pod import ended_at_once

PATIENCE = 180.0
"""Seconds for which the same thing is tried again."""
FIRST_SILENCE = 8.0
"""Seconds to wait for the first answer through the proxy; networks that let it not through say nothing."""


class Entrance:
    """Finds the way into a run's helper pods, one after the other; remembers when it is not the proxy."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._exec = False  # the user may not, or cannot, use the proxy

    def knock(self, pod: str, token: str) -> Door:
        """Return the way over which the server in a pod answers first.

        Raises RunError when the pod has ended, NotAllowedError when no way is open to the user, ApiError, CutError,
        StoppedError.
        """
        door = self._make_door(pod, token)
        start, delay = time.monotonic(), 0.05
        while True:
            try:
                list(call(door, "hello", {}, silence=FIRST_SILENCE))
                return door
            except NotAllowedError as error:
                if door.name == "exec":
                    raise NotAllowedError(
                        f"no right to reach the helper pod: neither pods/proxy nor pods/exec ({error.message})",
                        hint=f"ask the administrator of namespace {self._cluster.namespace} for one of the two",
                    ) from error
                self._exec = True
            except PodLostError:
                # The server is not listening yet, or the pod has ended, which the next look tells.
                if time.monotonic() - start > PATIENCE / 3:
                    raise
                self._check_alive(pod)
            except CutError:
                if time.monotonic() - start > PATIENCE:
                    raise
                # Where a network policy keeps the API server from pods, exec goes another way: over the node.
                self._exec = time.monotonic() - start > FIRST_SILENCE and not self._exec
            self._cluster.pause(delay)
            delay = min(delay * 2, 2.0)
            if (door.name == "exec") != self._exec:
                door.close()
                door = self._make_door(pod, token)

    def change_to_exec(self, pod: str, token: str) -> Door:
        """Return the way over a command in a pod; it is what the next pod is tried over first."""
        self._exec = True
        return self._make_door(pod, token)

    def _make_door(self, pod: str, token: str) -> Door:
        make = ExecDoor if self._exec else ProxyDoor
        return make(self._cluster, pod, token)

    def _check_alive(self, name: str) -> None:
        pod = self._cluster.get("pods", name)
        if pod is None:
            raise RunError(f"the helper pod {name} was deleted", hint="give the same command again")
        if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
            raise ended_at_once(self._cluster, name, pod)
