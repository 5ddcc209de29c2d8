"""Names of images, as Docker reads them; pure.

Source: the grammar of distribution/reference. `python:3.11` is `docker.io/library/python:3.11`.
"""

import re
from dataclasses import dataclass

from src.setting_values import HUB

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:(?P<host>localhost(?::[0-9]+)?|[A-Za-z0-9.-]+(?::[0-9]+)|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]+)?"
    rf"|\[[0-9A-Fa-f:]+\](?::[0-9]+)?)/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image's name in all its parts; registry and path are the full ones."""

    registry: str  # host[:port]; docker.io for Docker Hub
    path: str  # library/python
    tag: str | None  # None where only a digest is given
    digest: str | None  # sha256:…

    @property
    def name(self) -> str:
        """Registry and path: what the engine calls the repository."""
        return f"{self.registry}/{self.path}"

    @property
    def text(self) -> str:
        """The whole name; the digest, where there is one, in the place of the tag."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def parse_reference(text: str) -> Reference | None:
    """Return the parts of an image's name, None for what is no such name; without tag and digest it is `latest`."""
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    host, path, tag, digest = match.group("host", "path", "tag", "digest")
    if host in (None, "index.docker.io"):
        host = HUB
    if host == HUB and "/" not in path:
        path = f"library/{path}"
    return Reference(registry=host, path=path, tag=tag or (None if digest else "latest"), digest=digest)
