"""What the DAG file calls `repository`, as a record: an address without credentials, and these apart; pure."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from src.errors import FetchError

PROTOCOLS = ("https", "http", "ssh", "git", "file")
"""All that git may speak for us, also after a redirect."""

_ALIASES = {"git+ssh": "ssh", "ssh+git": "ssh"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HELPER = re.compile(r"([A-Za-z0-9_-]+)::")
_SCP_LIKE = re.compile(r"[^/:]+:")
_USER_INFO = re.compile(r"(\bhttps?://)[^/\s@]*@|(\w://[^/\s@:]*):[^/\s@]*@")


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository of components; url has no credentials and is fit for messages, records and keys."""

    url: str
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def protocol(self) -> str:
        """The protocol's name; scp-like addresses are ssh."""
        match = _SCHEME.match(self.url)
        return _ALIASES.get(match[1].lower(), match[1].lower()) if match else "ssh"

    @property
    def has_login(self) -> bool:
        """Whether there is something for git to log in with; it takes it for http and https only."""
        return self.protocol in ("http", "https") and bool(self.username or self.password)

    @property
    def host_url(self) -> str:
        """Protocol, host and port: what the credentials are good for."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def mask(self, text: str) -> str:
        """Return a text of git's with the credentials blotted out."""
        secret = self.password or (self.username if self.has_login else None)  # a token may stand for the name
        for form in {secret, quote(secret, safe="")} if secret else ():
            if len(form) > 3:  # shorter ones would blot out half of the text
                text = text.replace(form, "***")
        return mask_urls(text)


def mask_urls(text: str) -> str:
    """Return a text without the credentials of any URL in it."""
    return _USER_INFO.sub(lambda match: f"{match[1]}***@" if match[1] else f"{match[2]}:***@", text)


def clean_url(text: str) -> str:
    """Return a repository's address as messages and records may show it, whatever it is."""
    try:
        return parse_repository(text, Path("/")).url if _SCHEME.match(text) else text
    except FetchError:
        return mask_urls(text)


def parse_repository(text: str, base: Path) -> Repository:
    """Parse a URL, an scp-like address or a path (relative ones start at base, an absolute folder).

    Raises FetchError for a protocol that is not in PROTOCOLS and for what is no address at all.
    """
    text = text.strip()
    if any(ord(char) < 32 for char in text) or not text:
        raise _refusal(text, "is not an address")
    if helper := _HELPER.match(text):
        raise _refusal(text, f"uses the protocol {helper[1]!r}, which is not allowed")
    match = _SCHEME.match(text)
    if not match:
        if _SCP_LIKE.match(text):
            return Repository(url=text)
        path = base / Path(text).expanduser()
        return Repository(url="file://" + quote(str(path.resolve())))
    protocol = _ALIASES.get(match[1].lower(), match[1].lower())
    if protocol not in PROTOCOLS:
        raise _refusal(text, f"uses the protocol {match[1]!r}, which is not allowed")
    return _split_credentials(text, protocol)


def _split_credentials(text: str, protocol: str) -> Repository:
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        username, password = unquote(parts.username or "") or None, unquote(parts.password or "") or None
        _ = parts.port  # raises for what is no number
    except ValueError as error:
        raise _refusal(text, f"is not an address ({error})") from error
    if protocol in ("https", "http"):
        if not host:
            raise _refusal(text, "names no host")
        bare = urlunsplit((protocol, host, parts.path, parts.query, ""))
        return Repository(url=bare, username=username, password=password)
    # A user name is part of an ssh address; a password there is of no use to git.
    login = f"{parts.netloc.rpartition('@')[0].partition(':')[0]}@" if username else ""
    return Repository(
        url=urlunsplit((parts.scheme, login + host, parts.path, parts.query, parts.fragment)), password=password
    )


def _refusal(text: str, reason: str) -> FetchError:
    return FetchError(
        f"repository {mask_urls(text)!r} {reason}",
        hint=f"write a path, or a URL that begins with one of {', '.join(f'{name}://' for name in PROTOCOLS)}",
    )
