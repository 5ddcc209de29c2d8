"""Projects that run on the cluster: what the environment says of it as settings, and looks at what is left there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.kube.cluster import Cluster
from src.kube.kubeconfig import open_cluster
from src.kube.labels import DAG, Origin
from src.settings import load_settings
from tests.cluster.standin import NAMESPACE, StandIn, variable
from tests.support import Project

OURS = "app.kubernetes.io/managed-by=kubeflow-autopipe"
SPLIT = 'for n in 0 1; do cp "$2" "$4_$n.txt"; echo "$n" >> "$4_$n.txt"; done'
COPY = 'cp "$2" "$4.txt"; echo "and on" >> "$4.txt"'
JOIN = 'cat "$2"/* > "$4.txt"'


def script(text: str) -> list[str]:
    """Return the option `command` for a script of sh, in which $2 is the input and $4 the output."""
    return ["sh", "-c", text, "sh"]


class ClusterProject(Project):
    """A project whose components all are the same, but for the option `command`: their images are made once."""

    def __init__(self, folder: Path, server: StandIn, **settings: str) -> None:
        super().__init__(folder)
        self.server = server
        values = {
            "KFP_API_URL": server.url,
            "KFP_CA_CERT": variable(f"KFP_CA_CERT{server.suffix}"),
            "KUBECONFIG": variable("KUBECONFIG"),
            "KUBE_NAMESPACE": NAMESPACE,
            "DOCKER_HOST": variable("DOCKER_HOST"),
            "REGISTRY": variable("AUTOPIPE_REGISTRY"),
            "REGISTRY_NAMESPACE": "cluster-test",
            "BASE_IMAGE": "autopipe-base:bookworm",
            **settings,
        }
        self.settings = self.folder / "cluster.env"
        self.settings.write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    def steps(
        self,
        scripts: Mapping[str, str],
        edges: Sequence[Sequence[Any]] = (),
        options: Mapping[str, Mapping[str, Any]] | None = None,
        **more: Any,
    ) -> Path:
        """Write a DAG file whose components are scripts of sh; see script."""
        for name in scripts:
            self.python_component(name, "raise SystemExit('the option command is missing')")
        chosen = {name: {"command": script(text), **(options or {}).get(name, {})} for name, text in scripts.items()}
        return self.write(list(scripts), edges, options=chosen, **more)

    def arguments(self, *more: str, file: Path | None = None, target: str = "kubeflow") -> list[str]:
        """Return the arguments of a run of this project."""
        return [
            *("-i", str(file or self.file), "--target", target),
            *("--output", str(self.output), "--env-file", str(self.settings), *more),
        ]


def kube(kubeconfig: str = "KUBECONFIG", namespace: str = NAMESPACE) -> Cluster:
    """Return the cluster, for looks at it."""
    return open_cluster(load_settings(None, {"KUBECONFIG": variable(kubeconfig), "KUBE_NAMESPACE": namespace}))


def left_of(folder: Path, cluster: Cluster) -> list[str]:
    """Return what there is in the namespace of the DAG files below a folder, of whatever kind."""
    labels = set()
    for path in folder.rglob("*.yaml"):
        system = json.loads(path.read_bytes()).get("System", {}) if path.name == "dag.yaml" else {}
        if system:
            labels.add(Origin(owner="", run="", dag=system["name"], file=str(path.resolve())).dag_label)
    return [
        f"{kind}/{one['metadata']['name']}"
        for kind in ("persistentvolumeclaims", "pods", "secrets", "configmaps")
        for one in cluster.find(kind, labels=OURS)[0]
        if one["metadata"]["labels"].get(DAG) in labels
    ]
