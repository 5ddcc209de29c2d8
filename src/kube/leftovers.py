"""What runs left in the namespace, found by its labels; never what is not ours."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from src.kube.claim import CLAIMS, claims_of, delete_claim, is_at_work
from src.kube.cluster import Cluster
from src.kube.labels import CLAIM, DAG, EXPIRY, MANAGED, OWNER, PREFIX, RUN, STATE, read_expiry, selector
from src.step import Record


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A claim, or a helper pod whose claim has gone. Times are in seconds since the epoch.

    owner, dag: as people write them. in_use: a pod that has not ended is on the claim, or is the pod.
    """

    kind: str  # persistentvolumeclaims or pods
    name: str
    owner: str
    dag: str
    file: str
    run: str
    state: str
    expiry: float | None
    in_use: bool

    def is_expired(self, now: float) -> bool:
        """Say whether it may go: it has had its time, and nobody is at work on it."""
        return not self.in_use and self.expiry is not None and self.expiry <= now


def list_leftovers(cluster: Cluster, *, owner: str | None = None, dag: str | None = None) -> list[Leftover]:
    """Return what is ours in the namespace, of one owner (Origin.owner's label) or DAG (dag_label) if given.

    A run at work is among it: its claim is in use, or its expiry is days away.
    """
    wanted = {**MANAGED, **({OWNER: owner} if owner else {}), **({DAG: dag} if dag else {})}
    claims = [claim for claim in cluster.find(CLAIMS, labels=selector(wanted))[0] if RUN in claim["metadata"]["labels"]]
    pods = cluster.find("pods")[0]
    used = {name for pod in pods if is_at_work(pod) for name in claims_of(pod)}
    names = {claim["metadata"]["name"] for claim in claims}
    helpers = [
        pod
        for pod in pods
        if (labels := pod["metadata"].get("labels") or {}).keys() >= {CLAIM, RUN}
        and all(labels.get(name) == value for name, value in wanted.items())
        and labels[CLAIM] not in names
    ]
    found = [_leftover(CLAIMS, claim, in_use=claim["metadata"]["name"] in used) for claim in claims]
    return found + [_leftover("pods", pod, in_use=is_at_work(pod)) for pod in helpers]


def _leftover(kind: str, thing: Record, *, in_use: bool) -> Leftover:
    labels = thing["metadata"]["labels"]
    texts = thing["metadata"].get("annotations") or {}
    return Leftover(
        kind=kind,
        name=thing["metadata"]["name"],
        owner=texts.get(f"{PREFIX}owner-name", labels.get(OWNER, "")),
        dag=texts.get(f"{PREFIX}dag-name", labels.get(DAG, "")),
        file=texts.get(f"{PREFIX}dag-file", ""),
        run=labels[RUN],
        state=labels.get(STATE, ""),
        expiry=read_expiry(labels.get(EXPIRY, "")),
        in_use=in_use,
    )


def remove_expired(cluster: Cluster, leftovers: Sequence[Leftover]) -> list[Leftover]:
    """Delete those that are expired and not in use; return them. Raises ApiError, CutError, StoppedError."""
    gone = [one for one in leftovers if one.is_expired(time.time())]
    for one in gone:
        remove(cluster, one)
    return gone


def remove(cluster: Cluster, leftover: Leftover) -> None:
    """Delete one thing that was left; a claim with the pods of ours that are on it."""
    if leftover.kind == CLAIMS:
        delete_claim(cluster, leftover.name)
    else:
        cluster.delete("pods", leftover.name, grace=1)
