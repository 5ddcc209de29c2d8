"""What `--check` asks of the cluster: each question with its answer and, where a run would fail, what to do."""

import shutil
from collections.abc import Callable, Iterator

from src.errors import AutopipeError, ImageError
from src.finding import Finding, finding_of
from src.kube.api import Api
from src.kube.cluster import Cluster
from src.kube.kubeconfig import open_cluster
from src.kube.load import context_name, load_command
from src.kube.pull_check import try_pull
from src.kube.refusal import ApiError
from src.kube.rights import missing_rights, no_way
from src.kube.server import User, read_server
from src.settings import Settings
from src.step import Record

CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
ENFORCE = "pod-security.kubernetes.io/enforce"


def check_server(settings: Settings) -> Iterator[Finding]:
    """Ask the pipelines server: address, TLS, login, namespace."""
    subject = "Kubeflow Pipelines"
    try:
        server = read_server(settings)
        with Api(server, patience=5) as api:
            health = api.health()
            who = f"user {server.login.name}" if isinstance(server.login, User) else server.login.origin
            tls = "" if server.checked else ", whose certificate is not checked"
            yield Finding(subject=subject, text=f"version {health.version} at {server.host}{tls}; logged in with {who}")
            api.find_runs("autopipe-check", settings.kube_namespace)
            where = settings.kube_namespace if health.multi_user else f"{settings.kube_namespace}, for a single user"
            yield Finding(subject="namespace of runs", text=where)
    except AutopipeError as error:
        yield finding_of(subject, error)


def check_cluster(settings: Settings, image: str | None) -> Iterator[Finding]:
    """Ask the cluster: rights, storage class, Pod Security, and whether its nodes can pull an image.

    image: one of ours that is in the registry; None: there is none yet.
    """
    try:
        cluster = open_cluster(settings)
        cluster.ask("GET", "/version", "ask for its version")
        context = context_name(settings) or "of this pod"
        yield Finding(subject="cluster", text=f"{cluster.api_server.host}, context {context}")
        yield from _check_rights(cluster)
        yield _check_class(cluster, settings)
        yield _check_security(cluster)
        yield _check_images(cluster, settings, image)
    except AutopipeError as error:
        yield finding_of("cluster", error)


def _check_rights(cluster: Cluster) -> Iterator[Finding]:
    missing = missing_rights(cluster)
    fatal = no_way(missing)
    for right in fatal:
        hint = f"ask the administrator of namespace {cluster.namespace} for it"
        yield Finding(subject="rights", text=f"no right to {right} ({right.purpose})", fine=False, hint=hint)
    less: dict[str, list[str]] = {}
    for right in missing:
        if right not in fatal:
            less.setdefault(right.instead, []).append(str(right))
    for instead, rights in less.items():
        yield Finding(subject="rights", text=f"no right to {', '.join(rights)}", hint=instead)
    if not missing:
        yield Finding(subject="rights", text=f"all that a run needs in namespace {cluster.namespace}")


def _seen(ask: Callable[[], Record]) -> Record | None:
    """Return what an answer is, None where the user may not see it."""
    try:
        return ask()
    except ApiError as error:
        if error.code != 403:
            raise
        return None


def _check_class(cluster: Cluster, settings: Settings) -> Finding:
    subject, wanted = "storage class", settings.storage_class
    seen = _seen(lambda: cluster.ask("GET", CLASSES, "list storage classes"))
    if seen is None:
        name = wanted or "the cluster's default"
        return Finding(subject=subject, text=f"{name}, unseen: this user may not list them")
    names = {one["metadata"]["name"]: one["metadata"].get("annotations") or {} for one in seen["items"]}
    default = next((name for name, notes in names.items() if notes.get(DEFAULT_CLASS) == "true"), None)
    known = f"there are: {', '.join(sorted(names)) or 'none'}"
    if wanted and wanted not in names:
        return Finding(subject=subject, text=f"there is no {wanted}", fine=False, hint=f"set STORAGE_CLASS; {known}")
    if not wanted and default is None:
        return Finding(
            subject=subject, text="the cluster has no default", fine=False, hint=f"set STORAGE_CLASS; {known}"
        )
    return Finding(subject=subject, text=f"{wanted or default}, {settings.access_mode}")


def _check_security(cluster: Cluster) -> Finding:
    subject, path = "Pod Security", f"/api/v1/namespaces/{cluster.namespace}"
    seen = _seen(lambda: cluster.ask("GET", path, f"look at the namespace {cluster.namespace}"))
    if seen is None:
        return Finding(subject=subject, text="unseen: this user may not look at the namespace")
    level = (seen["metadata"].get("labels") or {}).get(ENFORCE, "privileged")
    if level != "restricted":
        return Finding(subject=subject, text=f"{level}: the pods of Kubeflow Pipelines may run")
    return Finding(
        subject=subject,
        text="restricted: our own pods may run, those that Kubeflow Pipelines makes for steps are refused",
        fine=False,
        hint=f"ask for `kubectl label namespace {cluster.namespace} {ENFORCE}=baseline --overwrite`",
    )


def _check_images(cluster: Cluster, settings: Settings, image: str | None) -> Finding:
    subject = "images"
    command = load_command(context_name(settings), settings)
    if command:
        if shutil.which(command[0]) is None:
            hint = "install it, or set IMAGE_LOAD_COMMAND"
            return Finding(
                subject=subject,
                text=f"there is no {command[0]}, which loads them",
                fine=False,
                hint=hint,
                status=ImageError.status,
            )
        return Finding(subject=subject, text=f"loaded into the nodes with {command[0]}: no registry is needed")
    if image is None:
        return Finding(
            subject=subject,
            text=f"none is in {settings.registry} yet: whether the nodes can pull is not known",
            hint="after `python3 docker_build.py -i DAG`, this tries it",
        )
    try:
        seconds = try_pull(cluster, image, settings.image_pull_secret)
    except AutopipeError as error:
        return finding_of(subject, error)
    return Finding(subject=subject, text=f"a pod could pull {image} and start within {seconds:.0f} s")
