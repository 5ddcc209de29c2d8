"""Where the Docker engine is, as the docker command finds it; reads files only, connects to nothing."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import ImageError
from src.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Where an engine is said to be; nobody has asked it yet."""

    host: str  # unix:///path, tcp://host:port, ssh://user@host
    source: str  # what says so, for messages
    certificates: Path | None = None  # folder of ca.pem, cert.pem, key.pem: speak TLS
    verify: bool = True  # the engine's certificate

    @property
    def socket(self) -> Path | None:
        """The socket's path when it is on this machine."""
        return Path(self.host.removeprefix("unix://")) if self.host.startswith("unix://") else None


def find_engine(settings: Settings) -> Engine | None:
    """Return the engine that is set up here: DOCKER_HOST, the docker command's context, a socket in a usual place.

    Nothing is connected to. Raises ImageError for a context that does not exist.
    """
    if settings.docker_host:
        certificates = settings.docker_cert_path
        return Engine(host=settings.docker_host, source="DOCKER_HOST", certificates=certificates)
    context = settings.docker_context or _current_context(settings)
    if context and context != "default":
        return _read_context(context, settings)
    sockets = [path for path in _usual_sockets(settings) if _is_socket(path)]
    usable = [path for path in sockets if os.access(path, os.R_OK | os.W_OK)]
    return next((Engine(host=f"unix://{path}", source="its usual place") for path in usable or sockets), None)


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except PermissionError:  # in a folder that is not ours
        return False


def _usual_sockets(settings: Settings) -> Iterator[Path]:
    yield Path("/var/run/docker.sock")
    if settings.runtime_dir:
        yield settings.runtime_dir / "docker.sock"
    yield settings.docker_config / "run" / "docker.sock"  # Docker Desktop
    if settings.runtime_dir:
        yield settings.runtime_dir / "podman" / "podman.sock"
    yield Path("/run/podman/podman.sock")


def read_docker_config(settings: Settings) -> dict[str, Any]:
    """Return the docker command's config.json; empty when there is none, or none that can be read."""
    try:
        found = json.loads((settings.docker_config / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _current_context(settings: Settings) -> str | None:
    name = read_docker_config(settings).get("currentContext")
    return name if isinstance(name, str) else None


def _read_context(name: str, settings: Settings) -> Engine:
    # Layout: docs.docker.com, docker context; folders are called by the sha256 of the context's name.
    folder, digest = settings.docker_config / "contexts", hashlib.sha256(name.encode()).hexdigest()
    try:
        endpoint = json.loads((folder / "meta" / digest / "meta.json").read_bytes())["Endpoints"]["docker"]
        host, verify = str(endpoint["Host"]), not endpoint.get("SkipTLSVerify", False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(
            f"the docker context {name} does not exist or cannot be read",
            hint="choose another: docker context use default",
        ) from error
    certificates = folder / "tls" / digest / "docker"
    return Engine(
        host=host,
        source=f"docker context {name}",
        certificates=certificates if certificates.is_dir() else None,
        verify=verify,
    )
