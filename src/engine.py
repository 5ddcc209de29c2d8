"""The Docker engine: opened, asked, its failures put into words; with targets/docker.py the only user of docker."""

import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from src.engine_place import Engine, find_engine
from src.errors import ImageError
from src.settings import Settings

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # a door

__all__ = ["Engine", "RefusalError", "engine_errors", "explain_answer", "find_engine", "open_engine", "refusals"]

QUICK = 60
"""Seconds that the engine may take over an answer."""


@contextlib.contextmanager
def open_engine(settings: Settings, *, patience: int = QUICK) -> Iterator["APIClient"]:
    """Give docker-py's low-level client of the engine; threads may share it.

    patience: seconds that the engine may be silent.

    What the engine or the way to it does wrong while the block runs is raised as ImageError. Not so docker's NotFound,
    which often is an answer: catch it where it is one.
    """
    engine = find_engine(settings)
    if engine is None:
        raise ImageError(
            "no Docker engine is set up on this machine",
            hint="install Docker or Podman, or name the engine: DOCKER_HOST=unix:///path/to/docker.sock",
        )
    _knock(engine)
    with engine_errors(engine):
        client = _connect(engine, patience)
        try:
            yield client
        finally:
            client.close()


def _knock(engine: Engine) -> None:
    """Raise ImageError when nobody listens at a socket of this machine; docker-py would leave its own open."""
    if engine.socket:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(QUICK)
            try:
                probe.connect(str(engine.socket))
            except OSError as error:
                raise _explain_silence(engine, error) from error


def _connect(engine: Engine, patience: int) -> "APIClient":
    from docker import APIClient, auth, tls  # noqa: TID251  # a door

    security: tls.TLSConfig | bool = False
    if engine.certificates:
        files = {name: engine.certificates / f"{name}.pem" for name in ("ca", "cert", "key")}
        security = tls.TLSConfig(
            client_cert=(str(files["cert"]), str(files["key"])) if files["cert"].exists() else None,
            ca_cert=str(files["ca"]) if files["ca"].exists() else None,
            verify=engine.verify,
        )

    class Client(APIClient):
        def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
            # Else REQUESTS_CA_BUNDLE, which is about other servers, would replace the engine's own CA.
            return {**super().merge_environment_settings(*args, **kwargs), "verify": self.verify}

    client = Client(
        base_url=engine.host,
        version="auto",
        timeout=patience,
        tls=security,
        use_ssh_client=True,
        max_pool_size=64,
    )
    # Logins go with each call. Left to itself, docker-py would ask every credential helper of the user's at each build.
    client._auth_configs = auth.AuthConfig({"auths": {"nowhere.invalid": {}}})  # type: ignore[attr-defined]
    return client


class RefusalError(Exception):
    """An answer of the engine with an error's status, for callers to whom it means something."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Raise the engine's refusals in the block as RefusalError."""
    from docker.errors import APIError  # noqa: TID251  # a door

    try:
        yield
    except APIError as error:
        raise RefusalError(error.status_code or 0, str(error.explanation or error).strip()) from error


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
