"""HTTP to one registry: scheme, certificates, proxies; follows no login of its own; a door to requests."""

import ipaddress
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from src.setting_values import HUB

if TYPE_CHECKING:
    import requests  # noqa: TID251  # a door
    from requests.auth import AuthBase  # noqa: TID251  # a door

PATIENCE = (10.0, 30.0)
"""Seconds to connect, and between bytes of an answer."""

_TRUST = Path("/etc/docker/certs.d")  # where the engine keeps the CAs of registries
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class UnreachableError(Exception):
    """Nothing that is a registry answers from here; the engine may be on another network, or trust other CAs."""


class Wire:
    """A way to one registry; threads may share it."""

    def __init__(self, host: str) -> None:
        import requests  # noqa: TID251  # a door
        from requests.adapters import HTTPAdapter  # noqa: TID251  # a door

        self._host = "registry-1.docker.io" if host == HUB else host
        self._session = requests.Session()
        self._session.trust_env = False  # .netrc would replace our login; proxies are asked for below
        self._session.headers["User-Agent"] = "kubeflow-autopipe"
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=32))
        authority = _TRUST / host / "ca.crt"
        bundles = (value for name in _BUNDLES if (value := os.environ.get(name)))
        self._verify = str(authority) if authority.is_file() else next(bundles, True)
        self._lock = threading.Lock()
        self._root: str | None = None

    def close(self) -> None:
        """Close what is open."""
        self._session.close()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: "AuthBase | None" = None,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> "requests.Response":
        """Send a request to the registry, or to where it leads; raises UnreachableError.

        headers and auth are for the registry itself: they go nowhere else unless url is absolute.
        """
        from requests import RequestException  # noqa: TID251  # a door
        from requests.utils import get_environ_proxies  # noqa: TID251  # a door

        try:
            target = urljoin(self._find_root(), url)
            return self._session.request(
                method,
                target,
                headers=headers,
                auth=auth,
                params=params,
                data=data,
                timeout=PATIENCE,
                verify=self._verify,
                proxies=get_environ_proxies(target),
            )
        except RequestException as error:
            raise UnreachableError(str(error)) from error

    def is_home(self, url: str) -> bool:
        """Whether a url, which may be relative, is on the registry itself."""
        return urlsplit(urljoin(self._find_root(), url)).netloc == urlsplit(self._find_root()).netloc

    def _find_root(self) -> str:
        """Return https://host, or http:// where the registry is on this machine and speaks no TLS, as Docker does."""
        with self._lock:
            if self._root is None:
                speaks_tls = not is_loopback(self._host) or self._speaks_tls()
                self._root = f"{'https' if speaks_tls else 'http'}://{self._host}"
            return self._root

    def _speaks_tls(self) -> bool:
        from requests import ConnectionError as RefusedError  # noqa: TID251  # a door

        try:
            self._session.get(f"https://{self._host}/v2/", timeout=PATIENCE, verify=self._verify)
        except RefusedError:
            return False
        return True


def is_loopback(netloc: str) -> bool:
    """Whether a host[:port] is this machine itself."""
    host = urlsplit(f"//{netloc}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
