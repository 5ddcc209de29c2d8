"""Where images go: registry, namespace, name; pure."""

import re
from dataclasses import dataclass

from src.errors import ConfigError
from src.image.login import Login
from src.image.reference import Reference
from src.names import safe_name
from src.setting_values import HUB
from src.settings import Settings

LOCAL = "autopipe.local"
"""Stands for a registry in the names of images that go nowhere."""

_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A registry and the path in it."""

    registry: str
    namespace: str | None

    def name(self, component: str, key: str) -> Reference:
        """Return the name of a component's image: <registry>/<namespace>/<safe name>:<key>."""
        path = "/".join(part for part in (self.namespace, safe_name(component)) if part)
        return Reference(registry=self.registry, path=path, tag=key, digest=None)


def choose_place(settings: Settings, login: Login | None, *, push: bool) -> Place:
    """Return where images go: REGISTRY and REGISTRY_NAMESPACE, else the user's own place there.

    login: who pushes. Raises ConfigError when images shall be pushed and there is no word on where to.
    """
    namespace = settings.registry_namespace
    if namespace is None:
        user = settings.register_username or (login.username if login else "")
        if user and _PATH.fullmatch(user):
            namespace = user
        elif settings.registry != HUB:
            namespace = "autopipe"
        elif push:
            raise ConfigError(
                f"nobody said where on {HUB} the images shall go",
                hint="set REGISTER_USERNAME and REGISTER_PASSWORD, or REGISTRY and REGISTRY_NAMESPACE",
            )
        else:
            return Place(registry=LOCAL, namespace=None)
    return Place(registry=settings.registry, namespace=namespace)
