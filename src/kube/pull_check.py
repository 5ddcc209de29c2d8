"""Lets a pod start an image: proof that the cluster's side can pull it."""

import secrets
import time

from src.errors import RunError
from src.kube.cluster import Cluster
from src.kube.doubts import Doubts
from src.kube.labels import CLAIM, EXPIRY, Origin, expiry_label
from src.kube.watch import watch
from src.step import Record

PULL_SECONDS = 300.0


def try_pull(cluster: Cluster, image: str, pull_secret: str | None) -> float:
    """Let a pod start an image; return the seconds until it had. Raises RunError with the reason."""
    start, doubts = time.monotonic(), Doubts(cluster)
    body = check_pod(image, pull_secret)
    name = body["metadata"]["name"]
    cluster.create("pods", body)
    try:
        for pod in watch(cluster, "pods", name, tick=2):
            status = (pod or {}).get("status") or {}
            if status.get("phase") in ("Running", "Succeeded", "Failed"):
                break
            found = doubts.judge([pod] if pod else [])
            if found:
                raise RunError(found[1].message, hint=found[1].hint)
            if time.monotonic() - start > PULL_SECONDS:
                raise RunError(f"{image} has not started in {PULL_SECONDS:.0f} s", hint="is the registry slow?")
    finally:
        cluster.delete("pods", name, grace=0)
    return time.monotonic() - start


def check_pod(image: str, pull_secret: str | None) -> Record:
    """Return a pod that starts an image and ends at once; it meets Pod Security `restricted`."""
    name = f"autopipe-check-{secrets.token_hex(4)}"
    labels = {**Origin(owner="check", run=name, dag="check", file="").labels(), CLAIM: name}
    spec: Record = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "check",
                "image": image,
                "imagePullPolicy": "Always",  # what a node has already proves nothing
                "command": ["python3", "-c", "pass"],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
            }
        ],
    }
    if pull_secret:
        spec["imagePullSecrets"] = [{"name": pull_secret}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {**labels, EXPIRY: expiry_label(time.time() + PULL_SECONDS), "sidecar.istio.io/inject": "false"},
            "annotations": {"sidecar.istio.io/inject": "false"},
        },
        "spec": spec,
    }
