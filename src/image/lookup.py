"""What registries have, each asked from here, or through the engine where only the engine reaches it."""

import threading
from typing import TYPE_CHECKING

from src.errors import ImageError
from src.image.calls import find_manifest
from src.image.login import find_login
from src.image.reference import Reference
from src.image.registry import Registry
from src.image.wire import UnreachableError
from src.settings import Settings

if TYPE_CHECKING:
    from docker import APIClient  # noqa: TID251  # src/engine.py is the door


class Lookup:
    """Registries by host, opened when first asked; threads may share it. A context manager.

    client: the engine, None when there is none at work.
    """

    def __init__(self, settings: Settings, client: "APIClient | None") -> None:
        self._settings = settings
        self._client = client
        self._lock = threading.Lock()
        self._registries: dict[str, Registry] = {}
        self._afar: set[str] = set()

    def __enter__(self) -> "Lookup":
        return self

    def __exit__(self, *_: object) -> None:
        for registry in self._registries.values():
            registry.close()

    def find(self, reference: Reference) -> str | None:
        """Return the digest of an image in its registry, None when there is none for us; raises ImageError."""
        registry = self._open(reference.registry)
        if self._client is None or reference.registry not in self._afar:
            try:
                return registry.find(reference.path, reference.digest or reference.tag or "latest")
            except UnreachableError as error:
                if self._client is None:
                    raise ImageError(
                        f"registry {reference.registry} cannot be reached",
                        details=(str(error),),
                        hint="see whether it is up and the network is there; then give the same command again",
                    ) from error
                self._afar.add(reference.registry)
        return find_manifest(self._client, reference.text, self.auth_config(reference.registry))

    def find_platform(self, reference: Reference, digest: str, platform: str) -> str | None:
        """Return the digest of the manifest for a platform behind a digest; None when that cannot be told from here."""
        registry = self._open(reference.registry)
        try:
            return registry.find_platform(reference.path, digest, platform)
        except UnreachableError:
            return None

    def check_push(self, reference: Reference) -> bool:
        """Raise ImageError when we may not push there; return False where only the engine could ask, by pushing."""
        registry = self._open(reference.registry)
        if reference.registry not in self._afar:
            try:
                registry.check_push(reference.path)
            except UnreachableError:
                self._afar.add(reference.registry)
        return reference.registry not in self._afar

    def auth_config(self, host: str) -> dict[str, str]:
        """Return the login for a registry as the engine takes it, empty when there is none."""
        login = self._open(host).login
        return login.auth_config if login else {}

    def _open(self, host: str) -> Registry:
        with self._lock:
            if host not in self._registries:
                self._registries[host] = Registry(host, find_login(host, self._settings))
            return self._registries[host]
