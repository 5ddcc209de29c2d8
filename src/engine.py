"""The Docker engine: opened, asked, its failures put into words; with targets/docker.py the only user of docker."""

import contextlib
import errno
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from src.engine_place import Engine, find_engine
from src.errors import ImageError
from src.settings import Settings

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # a door

__all__ = ["Engine", "explain_answer", "find_engine", "find_image", "find_manifest", "open_engine"]

QUICK = 60
"""Seconds that the engine may take over an answer; streams, which may say nothing for long, have no limit."""


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


def find_image(client: "APIClient", name: str) -> dict[str, Any] | None:
    """Return what the engine says of an image that it has, by name, digest or ID; None when it has none."""
    from docker.errors import NotFound  # noqa: TID251  # a door

    try:
        return dict(client.inspect_image(name))
    except NotFound:
        return None


def find_manifest(client: "APIClient", name: str, auth_config: Mapping[str, str]) -> str | None:
    """Return the digest of an image in its registry as the engine sees it; None when there is none, or none for us.

    Raises ImageError when the engine cannot ask either.
    """
    from docker.errors import APIError  # noqa: TID251  # a door

    try:
        return str(client.inspect_distribution(name, auth_config=dict(auth_config))["Descriptor"]["digest"])
    except APIError as error:
        if error.status_code in (401, 403, 404) or "manifest unknown" in str(error.explanation):
            return None
        raise
