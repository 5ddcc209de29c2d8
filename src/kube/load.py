"""Loads images into the nodes of a cluster on this machine: with k3d, kind and minikube no registry is needed."""

import json
import logging
import re
import shlex
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from src.errors import ImageError
from src.kube.cluster import Cluster
from src.kube.refusal import ApiError
from src.progress import count
from src.record import write_text
from src.settings import Settings

log = logging.getLogger("autopipe")
MEMORY = "loaded.json"
OLD = 400  # images that are remembered


def load_command(context: str | None, settings: Settings) -> list[str] | None:
    """Return the command that takes image names and loads them into the nodes; None: nodes pull from a registry.

    context: the name of the cluster's entry in the kubeconfig, which the tools for clusters on one machine choose.
    """
    if settings.image_load_command:
        return shlex.split(settings.image_load_command)
    name = context or ""
    if name.startswith("k3d-"):
        return ["k3d", "image", "import", "--cluster", name.removeprefix("k3d-")]
    if name.startswith("kind-"):
        return ["kind", "load", "docker-image", "--name", name.removeprefix("kind-")]
    if name == "minikube":
        return ["minikube", "image", "load"]
    return None


def loads_images(settings: Settings) -> bool:
    """Say whether images are loaded into the nodes, so that none is pushed."""
    return load_command(context_name(settings), settings) is not None


def load_images(images: Iterable[tuple[str, str]], cluster: Cluster, settings: Settings) -> None:
    """Load images, (name, id) each, into the nodes of a cluster unless they are there; raises ImageError.

    What was loaded is remembered by id, so that an image that was built again under its name is loaded again.
    """
    command = load_command(context_name(settings), settings)
    if command is None:
        return
    path = settings.cache_dir / MEMORY
    memory, there, wanted = _read_memory(path), images_there(cluster), dict(images)
    missing = [
        name
        for name, its in wanted.items()
        if memory.get(f"{cluster.api_server.host} {name}") != its or (there is not None and _short(name) not in there)
    ]
    if not missing:
        return
    started = time.monotonic()
    log.info("loading %s into the nodes", count(len(missing), "image"))
    # minikube takes one name at a time.
    for names in [[name] for name in missing] if command[0] == "minikube" else [missing]:
        _run([*command, *names])
    log.info("loaded in %.1f s", time.monotonic() - started)
    memory = {**_read_memory(path), **{f"{cluster.api_server.host} {name}": wanted[name] for name in missing}}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(dict(list(memory.items())[-OLD:])))


def images_there(cluster: Cluster) -> set[str] | None:
    """Return the names of the images that all nodes have; None where the user may not look at nodes.

    A kubelet looks twice a minute and tells of 50 images at most: what it leaves out is loaded again, to no harm.
    """
    try:
        nodes = cluster.ask("GET", "/api/v1/nodes", "look at the nodes")["items"]
    except ApiError as error:
        if error.code != 403:
            raise
        return None
    found = [
        {_short(name) for image in (node.get("status") or {}).get("images") or () for name in image.get("names") or ()}
        for node in nodes
    ]
    return set.intersection(*found) if found else None


def _short(name: str) -> str:
    """Return an image's name as it is without the registry that a runtime adds."""
    return name.removeprefix("docker.io/").removeprefix("library/")


def _run(command: Sequence[str]) -> None:
    hint = "IMAGE_LOAD_COMMAND names another command; or push to a registry that the nodes can pull from"
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise ImageError(f"cannot load images into the nodes: {command[0]}: {error.strerror}", hint=hint) from error
    if done.returncode:
        lines = tuple(line for line in (done.stdout + done.stderr).splitlines() if line.strip())[-20:]
        raise ImageError(f"{command[0]} could not load images into the nodes", details=lines, hint=hint)


def _read_memory(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError):
        return {}


def context_name(settings: Settings) -> str | None:
    """Return the name of the kubeconfig's context that is used; None where there is none: we are in a pod."""
    if settings.kube_context:
        return settings.kube_context
    place = settings.kubeconfig or str(Path("~/.kube/config").expanduser())
    # Several files are one: the first that names a current context wins.
    for path in place.split(":"):
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found = re.search(r"""^[{\s]*["']?current-context["']?:[ \t]*["']?([^"'\s,]+)""", text, re.MULTILINE)
        if found:
            return found[1]
    return None
