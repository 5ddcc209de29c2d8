"""The Docker engine: found as the docker command finds it, opened, its failures put into words; a door to docker."""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.errors import ImageError
from src.settings import Settings

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # a door

QUICK = 60
"""Seconds that the engine may take over an answer; streams, which may say nothing for long, have no limit."""


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
    sockets = [path for path in _usual_sockets(settings) if path.is_socket()]
    usable = [path for path in sockets if os.access(path, os.R_OK | os.W_OK)]
    return next((Engine(host=f"unix://{path}", source="its usual place") for path in usable or sockets), None)


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


@contextlib.contextmanager
def open_engine(settings: Settings) -> Iterator["APIClient"]:
    """Give docker-py's low-level client of the engine; threads may share it.

    What the engine or the way to it does wrong while the block runs is raised as ImageError. Not so docker's NotFound,
    which often is an answer: catch it where it is one.
    """
    engine = find_engine(settings)
    if engine is None:
        raise ImageError(
            "no Docker engine is set up on this machine",
            hint="install Docker or Podman, or name the engine: DOCKER_HOST=unix:///path/to/docker.sock",
        )
    with engine_errors(engine):
        client = _connect(engine)
        try:
            yield client
        finally:
            client.close()


def _connect(engine: Engine) -> "APIClient":
    from docker import APIClient, tls  # noqa: TID251  # a door

    security: tls.TLSConfig | bool = False
    if engine.certificates:
        files = {name: engine.certificates / f"{name}.pem" for name in ("ca", "cert", "key")}
        security = tls.TLSConfig(
            client_cert=(str(files["cert"]), str(files["key"])) if files["cert"].exists() else None,
            ca_cert=str(files["ca"]) if files["ca"].exists() else None,
            verify=engine.verify,
        )
    return APIClient(
        base_url=engine.host,
        version="auto",
        timeout=QUICK,
        tls=security,
        use_ssh_client=True,
        max_pool_size=64,
    )


@contextlib.contextmanager
def engine_errors(engine: Engine) -> Iterator[None]:
    """Raise what docker-py raises in the block as ImageError."""
    from docker.errors import APIError, DockerException  # noqa: TID251  # a door
    from requests import RequestException  # noqa: TID251  # docker-py lets these through
    from urllib3.exceptions import HTTPError  # and these, where it reads a stream

    try:
        yield
    except APIError as error:
        raise explain_answer(str(error.explanation or error)) from error
    except (DockerException, RequestException, HTTPError) as error:
        raise _explain_silence(engine, error) from error


def explain_answer(text: str) -> ImageError:
    """Return the error for a refusal of the engine."""
    if "no space left on device" in text:
        return ImageError(
            "the engine's disk is full",
            details=(text,),
            hint="free some space: docker system df shows what uses it, docker system prune removes what is unused",
        )
    return ImageError(f"the engine refuses: {text.strip()}", hint="see the engine's log; docker info may tell more")


def _explain_silence(engine: Engine, error: BaseException) -> ImageError:
    where = f"{engine.host} ({engine.source})"
    number = _errno_of(error)
    if number == errno.EACCES:
        return ImageError(
            f"no permission to use the Docker engine at {where}",
            hint="add yourself to its group and log in again: sudo usermod -aG docker $USER; or use rootless Docker",
        )
    if number in (errno.ENOENT, errno.ECONNREFUSED):
        return ImageError(
            f"no Docker engine answers at {where}",
            hint="start it: sudo systemctl start docker, Docker Desktop or colima start; or correct DOCKER_HOST",
        )
    return ImageError(
        f"the Docker engine at {where} does not answer as it should",
        details=tuple(str(error).splitlines()[-3:]),
        hint="see whether it runs: docker info; then give the same command again",
    )


def _errno_of(error: BaseException) -> int | None:
    """Return the system's error number at the root of an error that libraries have wrapped, each in its own way."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        one = todo.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno in (errno.EACCES, errno.ENOENT, errno.ECONNREFUSED):
            return one.errno
        todo += [one.__cause__, one.__context__, *one.args]
    return None
