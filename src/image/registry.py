"""Asks a registry what it has and what we may do there.

Source: the OCI distribution specification.
"""

import contextlib
import hashlib
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from src.errors import ImageError
from src.image.login import Login
from src.image.refusals import denied, wrong_password
from src.image.tokens import basic_auth, fetch_token, scheme_of
from src.image.wire import UnreachableError, Wire

if TYPE_CHECKING:
    from requests import Response  # noqa: TID251  # wire.py is the door
    from requests.auth import HTTPBasicAuth  # noqa: TID251  # wire.py is the door

MANIFESTS = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
WAITS = (0.5, 1.0, 2.0)
"""Seconds before another attempt where the registry is busy."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Registry:
    """One registry and who we are there; threads may share it."""

    def __init__(self, host: str, login: Login | None) -> None:
        self.host = host
        self.login = login
        self._wire = Wire(host)
        self._tokens: dict[str, str] = {}  # by scope
        self._basic: HTTPBasicAuth | None = None

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    def find(self, path: str, name: str) -> str | None:
        """Return the digest of a manifest by its tag or digest, None when the registry has none or hides it.

        Raises UnreachableError; ImageError when the registry refuses the login, or answers with an error.
        """
        url, scope = f"/v2/{path}/manifests/{name}", f"repository:{path}:pull"
        answer = self._ask("HEAD", url, scope)
        if answer.status_code == 200 and not _told_digest(answer):
            answer = self._ask("GET", url, scope)
        if answer.status_code == 200:
            return _told_digest(answer) or f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        if answer.status_code in (401, 403, 404):  # a repository that we may not see is not told from one that is not
            return None
        raise self._unexpected(answer, f"{self.host}/{path}")

    def find_platform(self, path: str, digest: str, platform: str) -> str | None:
        """Return the digest of the manifest for os/architecture[/variant] in a list, None when there is no list.

        Raises UnreachableError.
        """
        answer = self._ask("GET", f"/v2/{path}/manifests/{digest}", f"repository:{path}:pull")
        try:
            entries = answer.json()["manifests"] if answer.status_code == 200 else []
            found = {_platform(entry["platform"]): str(entry["digest"]) for entry in entries}
        except (ValueError, KeyError, TypeError):  # one manifest, and no list
            return None
        fitting = [name for name in found if name == platform or name.startswith(f"{platform}/")]
        return found[fitting[0]] if fitting else None

    def check_push(self, path: str) -> None:
        """Raise ImageError when we may not push there; an upload is begun and given up. Raises UnreachableError."""
        scope = f"repository:{path}:pull,push"
        answer = self._ask("POST", f"/v2/{path}/blobs/uploads/", scope)
        if answer.status_code == 202:
            with contextlib.suppress(UnreachableError):  # the registry forgets it by itself, only later
                self._ask("DELETE", answer.headers.get("Location", ""), scope)
        elif answer.status_code in (401, 403):
            raise denied(f"{self.host}/{path}", self.login)
        elif answer.status_code == 405:
            raise ImageError(f"registry {self.host} takes no pushes: it is read-only", hint="name another: REGISTRY")
        elif answer.status_code == 404:
            raise ImageError(
                f"registry {self.host} has no place called {path}",
                hint="make the repository there, or correct REGISTRY and REGISTRY_NAMESPACE",
            )
        else:
            raise self._unexpected(answer, f"{self.host}/{path}")

    def _ask(self, method: str, url: str, scope: str) -> "Response":
        for wait in (*WAITS, 0.0):
            answer = self._send(method, url, scope)
            if answer.status_code == 401 and self._log_in(answer, scope):
                answer = self._send(method, url, scope)
                if answer.status_code == 401 and scheme_of(answer) == "basic":
                    raise wrong_password(self.host, self.login)
            if not wait or (answer.status_code != 429 and answer.status_code < 500):
                break
            threading.Event().wait(wait)
        return answer

    def _send(self, method: str, url: str, scope: str) -> "Response":
        headers, basic = {"Accept": MANIFESTS}, self._basic
        if scope in self._tokens:
            headers["Authorization"] = f"Bearer {self._tokens[scope]}"
        if not self._wire.is_home(url):  # an upload may be elsewhere, where our login is nobody's business
            headers, basic = {}, None
        return self._wire.send(method, url, headers=headers, auth=basic)

    def _log_in(self, answer: "Response", scope: str) -> bool:
        """Prepare what a 401 asks for; return whether another attempt makes sense."""
        if scheme_of(answer) == "basic":
            if self.login and self.login.password:
                self._basic = basic_auth(self.login)
            return self._basic is not None
        if scheme_of(answer) != "bearer" or "Authorization" in answer.request.headers:
            return False  # with a token that was not enough, we may not
        token = fetch_token(self._wire, self.host, self.login, answer, scope)
        if token:
            self._tokens[scope] = token
        return bool(token)

    def _unexpected(self, answer: "Response", what: str) -> ImageError:
        if answer.status_code == 429:
            return ImageError(f"registry {self.host} has had too many requests", hint="log in, or wait for an hour")
        return ImageError(
            f"registry {self.host} answers with status {answer.status_code} when asked for {what}",
            details=tuple(answer.text.splitlines()[:3]),
            hint="see whether it is up, and whether REGISTRY is right; then give the same command again",
        )


def _platform(entry: Mapping[str, str]) -> str:
    return "/".join(entry[part] for part in ("os", "architecture", "variant") if entry.get(part))


def _told_digest(answer: "Response") -> str | None:
    told = answer.headers.get("Docker-Content-Digest", "")
    return told if _DIGEST.fullmatch(told) else None
