"""The helper pod: it mounts a run's claim and serves it to us; here is its body, and its start."""

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from src.errors import RunError
from src.kube.cluster import Cluster
from src.kube.doubts import Doubts
from src.kube.labels import CLAIM, EXPIRY, KEPT_SECONDS, Origin, expiry_label
from src.kube.pipeline import MOUNT
from src.kube.placement import Placement
from src.kube.stuck import find_stuck
from src.kube.watch import watch
from src.step import Record

log = logging.getLogger("autopipe")
PORT = 8765
CONTAINER = "serve"
USER = 1000
IDLE = 3600  # seconds without a request, after which it ends: its client is dead, and others want the room
SMALL = {"cpu": "50m", "memory": "64Mi"}  # requests
MOST = {"cpu": "2", "memory": "512Mi"}  # limits; some namespaces want both
START_SECONDS = 3600.0  # a large image takes its time; what is stuck is found sooner
TICK = 3  # seconds between looks at the events


@dataclass(frozen=True, kw_only=True)
class HelperSpec:
    """What helper pods of a run have in common. image: that of save-media."""

    claim: str
    origin: Origin
    image: str
    placement: Placement = field(default_factory=Placement)
    pull_secret: str | None = None
    pull_policy: str | None = None  # None: Always for latest, else IfNotPresent, as Kubernetes has it


def pod_body(spec: HelperSpec, name: str, token_sum: str, now: float) -> Record:
    """Return the body of a helper pod; it meets Pod Security `restricted`.

    token_sum: sha256 in hex of the token that requests must have. now: in seconds since the epoch.
    """
    requests, limits = _resources(spec.placement)
    container: Record = {
        "name": CONTAINER,
        "image": spec.image,
        "command": ["python3", "serve.py"],
        "env": [
            {"name": "AUTOPIPE_VOLUME", "value": MOUNT},
            {"name": "AUTOPIPE_TOKEN_SHA256", "value": token_sum},
            {"name": "AUTOPIPE_PORT", "value": str(PORT)},
            {"name": "AUTOPIPE_IDLE", "value": str(IDLE)},
        ],
        "ports": [{"containerPort": PORT}],
        "resources": {"requests": requests, "limits": limits},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "volume", "mountPath": MOUNT}],
    }
    if spec.pull_policy:
        container["imagePullPolicy"] = spec.pull_policy
    body: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 2,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            # Volumes of disks belong to root until they are given away; where that means nothing it does no harm.
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": spec.claim}}],
    }
    if spec.pull_secret:
        body["imagePullSecrets"] = [{"name": spec.pull_secret}]
    if spec.placement.node_selector:
        body["nodeSelector"] = dict(spec.placement.node_selector)
    if spec.placement.tolerations:
        body["tolerations"] = [dict(one) for one in spec.placement.tolerations]
    labels = {**spec.origin.labels(), CLAIM: spec.claim, EXPIRY: expiry_label(now + KEPT_SECONDS)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            # A proxy beside it would want a certificate of who asks; newer versions of Istio read the label.
            "labels": {**labels, "sidecar.istio.io/inject": "false"},
            "annotations": {
                **spec.origin.texts(),
                "sidecar.istio.io/inject": "false",
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            },
        },
        "spec": body,
    }


def _resources(placement: Placement) -> tuple[dict[str, str], dict[str, str]]:
    requests, limits = dict(SMALL), dict(MOST)
    if placement.cpu:
        requests["cpu"] = f"{max(50, round(placement.cpu * 1000))}m"
        limits["cpu"] = f"{max(2000, round(placement.cpu * 1000))}m"
    if placement.memory:
        requests["memory"] = f"{max(64 << 10, -(-placement.memory // 1024))}Ki"
        limits["memory"] = f"{max(512 << 10, -(-placement.memory // 1024))}Ki"
    if placement.gpu:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(placement.gpu)
    return requests, limits


def wait_until_running(cluster: Cluster, name: str) -> None:
    """Wait until a helper pod runs; raises RunError, with reason and fix, as soon as it is sure that it will not."""
    start, doubts = time.monotonic(), Doubts(cluster)
    for pod in watch(cluster, "pods", name, tick=TICK):
        if pod is None:
            raise RunError(f"the helper pod {name} was deleted while it started", hint="give the same command again")
        phase = (pod.get("status") or {}).get("phase")
        if phase == "Running":
            return
        if phase in ("Failed", "Succeeded"):
            raise ended_at_once(cluster, name, pod)
        found = doubts.judge([pod])
        if found:
            raise RunError(f"the helper pod {name} cannot start: {found[1].message}", hint=found[1].hint)
        if time.monotonic() - start > START_SECONDS:
            raise RunError(
                f"the helper pod {name} has not started in an hour",
                hint=f"kubectl describe pod -n {cluster.namespace} {name} says more",
            )


def ended_at_once(cluster: Cluster, name: str, pod: Record) -> RunError:
    """Make the error for a helper pod that did not come to serve."""
    never = find_stuck(pod)
    if never:
        return RunError(f"the helper pod {name} cannot start: {never.message}", hint=never.hint)
    lines = cluster.log_of(name)
    if any("exec format error" in line for line in lines):  # some runtimes start what the kernel then refuses
        return RunError(
            f"the helper pod {name} cannot start: its image is for another kind of processor",
            hint="set IMAGE_PLATFORM to the nodes' kind, such as linux/amd64",
        )
    return RunError(
        f"the helper pod {name} ended at once: {how_it_ended(pod)}", details=tuple(lines), hint="give --rebuild"
    )


def how_it_ended(pod: Record) -> str:
    """Return why a pod has ended, in a few words."""
    status = pod.get("status") or {}
    for one in status.get("containerStatuses") or ():
        ended = (one.get("state") or {}).get("terminated")
        if ended:
            text = str(ended.get("message") or "").strip().split("\n")[-1][:300]
            return f"{ended.get('reason') or 'ended'}, exit status {ended.get('exitCode')}" + (
                f": {text}" if text else ""
            )
    return str(status.get("message") or status.get("reason") or "no reason given")
