"""The claim that is a run's volume on the cluster: made, kept for a while, deleted."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from src.errors import RunError
from src.kube.cluster import Cluster
from src.kube.labels import (
    ACTIVE,
    CLAIM,
    DAG,
    EXPIRY,
    KEPT,
    KEPT_SECONDS,
    MANAGED,
    OWNER,
    STATE,
    Origin,
    expiry_label,
    label_value,
    selector,
)
from src.kube.refusal import ApiError
from src.kube.watch import watch
from src.step import Record

log = logging.getLogger("autopipe")
CLAIMS = "persistentvolumeclaims"
RUN_ID = "pipeline/runid"
"""The label of Kubeflow Pipelines on the pods of a run: the server's id of it."""
GIB = 1 << 30
MOST_STEPS = 16  # that count for a claim's size
GONE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class ClaimSpec:
    """A claim to be made; size in bytes."""

    name: str
    origin: Origin
    size: int
    access_mode: str
    storage_class: str | None = None  # None: the cluster's own choice


def default_size(media: int, steps: int) -> int:
    """Return how large a volume is to be for media of some bytes: room for two files like it a step, at least 1 GiB.

    What a step makes is of the media's size as a rule, and while it works its outputs are there twice.
    """
    wanted = media * (2 + 2 * min(steps, MOST_STEPS))
    return max(1, -(-wanted // GIB)) * GIB


def claim_body(spec: ClaimSpec, now: float) -> Record:
    """Return the body of a new claim; now is in seconds since the epoch."""
    body: Record = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": spec.name,
            "labels": {**spec.origin.labels(), STATE: ACTIVE, EXPIRY: expiry_label(now + KEPT_SECONDS)},
            "annotations": spec.origin.texts(),
        },
        "spec": {"accessModes": [spec.access_mode], "resources": {"requests": {"storage": storage_text(spec.size)}}},
    }
    if spec.storage_class:
        body["spec"]["storageClassName"] = spec.storage_class
    return body


def storage_text(size: int) -> str:
    """Return bytes as a quantity of Kubernetes, in Gi where it is whole."""
    return f"{size // GIB}Gi" if size % GIB == 0 else str(size)


def create_claim(cluster: Cluster, spec: ClaimSpec) -> None:
    """Make a claim; it is bound when the first pod comes. Raises ApiError, CutError."""
    cluster.create(CLAIMS, claim_body(spec, time.time()))


def has_claim(cluster: Cluster, name: str) -> bool:
    """Say whether there is a claim of that name that is not being deleted."""
    claim = cluster.get(CLAIMS, name)
    return claim is not None and not claim["metadata"].get("deletionTimestamp")


def keep_claim(cluster: Cluster, spec_name: str, origin: Origin) -> None:
    """Keep a claim for 7 days after a failure, and delete what was kept of earlier runs of the same DAG.

    Who may not change claims keeps it as well: it has had that expiry since it was made.
    """
    labels = {STATE: KEPT, EXPIRY: expiry_label(time.time() + KEPT_SECONDS)}
    try:
        cluster.ask(
            "PATCH",
            cluster.path(CLAIMS, spec_name),
            f"keep the claim {spec_name}",
            body={"metadata": {"labels": labels}},
        )
    except ApiError as error:
        if error.code != 403:
            raise
        log.debug("%s", error.message)
        return
    wanted = {**MANAGED, OWNER: label_value(origin.owner), DAG: origin.dag_label, STATE: KEPT}
    for claim in cluster.find(CLAIMS, labels=selector(wanted))[0]:
        name = claim["metadata"]["name"]
        if name != spec_name and not any(is_at_work(pod) for pod in pods_on(cluster, name)):
            _ask_to_go(cluster, name, ())


def use_claim(cluster: Cluster, name: str, origin: Origin) -> None:
    """Make a kept claim that of a new run; who may not change claims uses it as it is."""
    labels = {**origin.labels(), STATE: ACTIVE, EXPIRY: expiry_label(time.time() + KEPT_SECONDS)}
    try:
        cluster.ask("PATCH", cluster.path(CLAIMS, name), f"use the claim {name}", body={"metadata": {"labels": labels}})
    except ApiError as error:
        if error.code != 403:
            raise
        log.debug("%s", error.message)


def pods_on(cluster: Cluster, claim: str) -> list[Record]:
    """Return the pods that name a claim, those that have ended included: while there is one, a claim does not go."""
    return [pod for pod in cluster.find("pods")[0] if claim in claims_of(pod)]


def claims_of(pod: Record) -> set[str]:
    """Return the names of a pod's claims."""
    volumes = pod["spec"].get("volumes") or ()
    return {one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one}


def run_pods(cluster: Cluster, run_id: str) -> list[Record]:
    """Return the pods that Kubeflow Pipelines made for a run of its own id."""
    return cluster.find("pods", labels=f"{RUN_ID}={run_id}")[0]


def delete_claim(cluster: Cluster, name: str, run_ids: Iterable[str] = ()) -> None:
    """Delete the pods of the runs, those on the claim and the claim, and wait until it is gone.

    Raises RunError when it does not go in two minutes, saying who uses it; ApiError, CutError, StoppedError.
    """
    _ask_to_go(cluster, name, run_ids)
    start = time.monotonic()
    for state in watch(cluster, CLAIMS, name, tick=5):
        if state is None:
            return
        if time.monotonic() - start > GONE_SECONDS:
            users = ", ".join(pod["metadata"]["name"] for pod in pods_on(cluster, name)) or "nobody that we see"
            raise RunError(
                f"the claim {name} is marked for deletion, but still used by {users}",
                hint=f"it goes with the last of them: kubectl delete pod -n {cluster.namespace} NAME",
            )


def _ask_to_go(cluster: Cluster, name: str, run_ids: Iterable[str]) -> None:
    pods = {pod["metadata"]["name"]: pod for run_id in run_ids for pod in run_pods(cluster, run_id)}
    pods.update((pod["metadata"]["name"], pod) for pod in pods_on(cluster, name) if _is_ours(pod, pods))
    for pod_name, pod in pods.items():
        cluster.delete("pods", pod_name, grace=1 if CLAIM in labels_of(pod) else None)
    cluster.delete(CLAIMS, name)


def is_at_work(pod: Record) -> bool:
    """Say whether a pod has not ended."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _is_ours(pod: Record, ours: dict[str, Record]) -> bool:
    """Say whether a pod on our claim is one of the pipeline's or a helper: a person may have a pod of his own there."""
    return pod["metadata"]["name"] in ours or CLAIM in labels_of(pod) or is_step(pod)


def is_step(pod: Record) -> bool:
    """Say whether Kubeflow Pipelines made a pod for a task of a run."""
    return RUN_ID in labels_of(pod)


def labels_of(pod: Record) -> dict[str, str]:
    """Return a pod's labels."""
    return dict(pod["metadata"].get("labels") or {})
