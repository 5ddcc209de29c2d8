"""Looks after pods that have not started: what may pass is waited for, what will not is told at once."""

import logging
import time
from collections.abc import Iterable

from src.kube.cluster import Cluster
from src.kube.refusal import ApiError
from src.kube.stuck import Document, Stuck, find_stuck
from src.step import Record

log = logging.getLogger("autopipe")
AT_ONCE = 8  # pods that are looked at in one round: what holds one up mostly holds up the others


class Doubts:
    """Remembers since when pods have been held up, and by what."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._since: dict[tuple[str, str], float] = {}  # (pod's uid, reason) -> monotonic seconds
        self._sees_events = True
        self._told: set[str] = set()

    def judge(self, pods: Iterable[Document]) -> tuple[Document, Stuck] | None:
        """Return a pod that will not start, and why, once that is sure; raises CutError, StoppedError."""
        for pod in [pod for pod in pods if _is_waiting(pod)][:AT_ONCE]:
            stuck = find_stuck(pod, self._events(pod))
            if stuck is None:
                continue
            key = (str(pod["metadata"].get("uid")), stuck.reason)
            since = self._since.setdefault(key, time.monotonic())
            if time.monotonic() - since >= stuck.patience:
                return pod, stuck
            if stuck.message not in self._told:
                self._told.add(stuck.message)
                log.info("waiting for pod %s: %s", pod["metadata"]["name"], stuck.message)
        return None

    def _events(self, pod: Document) -> list[Record]:
        claims = [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in (pod.get("spec") or {}).get("volumes") or ()
            if "persistentVolumeClaim" in volume
        ]
        found: list[Record] = []
        for name in (pod["metadata"]["name"], *claims):
            if not self._sees_events:
                break
            try:
                found += self._cluster.find("events", fields=f"involvedObject.name={name}")[0]
            except ApiError as error:
                if error.code != 403:
                    raise
                self._sees_events = False  # some users may not: the pod's own status has to do
        return found


def _is_waiting(pod: Document) -> bool:
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") in ("Succeeded", "Failed"):
        return False
    return status.get("phase") in ("Pending", None) or any(
        (one.get("state") or {}).get("waiting") for one in status.get("containerStatuses") or ()
    )
