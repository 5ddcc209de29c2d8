"""What the tests of the volume share: clusters for each kind of user, an image of save-media, claims, pods."""

import contextlib
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.kube.claim import CLAIMS, ClaimSpec, claim_body, delete_claim
from src.kube.cluster import Cluster
from src.kube.kubeconfig import open_cluster
from src.kube.labels import Origin, claim_name
from src.kube.pod import HelperSpec, pod_body
from src.settings import load_settings
from tests.cluster.standin import NAMESPACE, until, variable

ROOT = Path(__file__).resolve().parent.parent.parent
USERS = {"admin": "KUBECONFIG", "user": "AUTOPIPE_KUBECONFIG_USER", "pods only": "AUTOPIPE_KUBECONFIG_PODS_ONLY"}
DOORS = {"admin": "proxy", "user": "proxy", "pods only": "exec"}


def cluster_of(user: str, folder: Path, *, namespace: str = NAMESPACE, kubeconfig: Path | None = None) -> Cluster:
    """Return the cluster as one of USERS sees it."""
    empty = folder / "empty.env"
    empty.touch()
    place = str(kubeconfig or variable(USERS[user]))
    return open_cluster(load_settings(empty, {"KUBECONFIG": place, "KUBE_NAMESPACE": namespace}))


def docker(*arguments: str) -> str:
    """Run docker against the test's engine."""
    environ = {**os.environ, "DOCKER_HOST": variable("DOCKER_HOST")}
    return subprocess.run(["docker", *arguments], env=environ, capture_output=True, text=True, check=True).stdout


def build_image(folder: Path, files: dict[str, bytes]) -> str:
    """Build and push an image of save-media with more files, unless it is there; return its reference."""
    sources = {path.name: path.read_bytes() for path in (ROOT / "src" / "save-media").glob("*.py")}
    wanted = {f"app/{name}": data for name, data in sources.items()} | files
    text = "FROM autopipe-base:bookworm\nCOPY tree /\nWORKDIR /app\nUSER 1000:1000\n"
    digest = hashlib.sha256(text.encode())
    for name, data in sorted(wanted.items()):
        digest.update(f"{name} {len(data)} ".encode() + data)
        place = folder / "tree" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    (folder / "Dockerfile").write_text(text)
    name = f"{variable('AUTOPIPE_REGISTRY')}/volume-test/save-media:{digest.hexdigest()[:16]}"
    docker("build", "-q", "-t", name, str(folder))
    docker("push", "-q", name)
    return name


class Place:
    """A claim of a test in a namespace, gone after it."""

    def __init__(self, cluster: Cluster, folder: Path, image: str, *, dag: str = "volume-test") -> None:
        self.cluster = cluster
        self.image = image
        self.origin = Origin(owner="test@here", run=time.strftime("%Y%m%d-%H%M%S-0000"), dag=dag, file=str(folder))
        self.claim = claim_name(self.origin)

    @property
    def claim_spec(self) -> ClaimSpec:
        return ClaimSpec(name=self.claim, origin=self.origin, size=1 << 30, access_mode="ReadWriteOnce")

    @property
    def helper_spec(self) -> HelperSpec:
        return HelperSpec(claim=self.claim, origin=self.origin, image=self.image)

    def make(self) -> None:
        self.cluster.create(CLAIMS, claim_body(self.claim_spec, time.time()))

    def run_pod(
        self, name: str, command: list[str], *, root: bool = False, labels: dict[str, str] | None = None
    ) -> str:
        """Run a command in a pod on the claim, as a task's pod does, to its end; return the pod's name."""
        name = self.start_pod(name, command, root=root, labels=labels)
        ended = until(lambda: self._ended(name), 120)
        assert ended == "Succeeded", "\n".join(self.cluster.log_of(name))
        return name

    def start_pod(
        self, name: str, command: list[str], *, root: bool = False, labels: dict[str, str] | None = None
    ) -> str:
        """Make a pod that runs a command on the claim; return the pod's name."""
        name = f"{self.claim}-{name}"
        body = pod_body(self.helper_spec, name, "0" * 64, time.time())
        body["metadata"]["labels"] = {"test": "volume", **(labels or {})}
        body["spec"]["containers"][0]["command"] = command
        if root:
            body["spec"]["securityContext"] = {"runAsUser": 0}
            body["spec"]["containers"][0].pop("securityContext")
        self.cluster.create("pods", body)
        return name

    def _ended(self, name: str) -> str | None:
        pod = self.cluster.get("pods", name)
        phase = str(((pod or {}).get("status") or {}).get("phase"))
        return phase if phase in ("Succeeded", "Failed") else None

    def pods(self) -> list[dict[str, Any]]:
        return [pod for pod in self.cluster.find("pods")[0] if pod["metadata"]["name"].startswith(self.claim)]


@contextlib.contextmanager
def place_of(cluster: Cluster, folder: Path, image: str, **more: Any) -> Iterator[Place]:
    """Give a place whose claim is made; remove what is left of it."""
    place = Place(cluster, folder, image, **more)
    place.make()
    try:
        yield place
    finally:
        for pod in place.pods():
            cluster.delete("pods", pod["metadata"]["name"], grace=0)
        delete_claim(cluster, place.claim)


def kubectl(*arguments: str, document: Any = None) -> str:
    """Run kubectl as the administrator."""
    body = None if document is None else json.dumps(document)
    command = ["kubectl", "--kubeconfig", variable("KUBECONFIG"), *arguments]
    return subprocess.run(command, input=body, capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def namespace_of(name: str, **labels: str) -> Iterator[str]:
    """Give a namespace of the test's own."""
    metadata = {"name": name, "labels": labels}
    kubectl("create", "-f", "-", document={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")
