"""Sends single HTTP requests and keeps the cookies; follows nothing, repeats nothing."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

from src.kube.unreachable import explain

CONNECT = 10.0
"""Seconds to wait for a connection."""
READ = 60.0
"""Seconds to wait for the next bytes of an answer."""
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name a file of trusted CAs, where KFP_CA_CERT is not set."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of a server. Its address and text may hold secrets: they are not shown."""

    status: int
    url: str = field(repr=False)
    target: str = field(default="", repr=False)  # of a redirect, absolute
    text: str = field(repr=False)
    is_html: bool = False

    def document(self) -> dict[str, Any] | None:
        """Return the JSON object that it is, or None."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


class Transport:
    """An HTTP client with a jar of cookies; a context manager.

    authority: CA file in the place of those trusted anyway. checked: whether certificates are checked.
    """

    def __init__(self, *, authority: Path | None = None, checked: bool = True) -> None:
        import requests  # noqa: TID251  # this package is the door

        self._authority = authority
        self.session = requests.Session()
        # Else .netrc replaces our login, and REQUESTS_CA_BUNDLE wins over verify. Proxies are asked for below.
        self.session.trust_env = False
        self.session.headers["User-Agent"] = "kubeflow-autopipe"
        self.session.verify = _verify(authority, checked)
        if not checked:
            import urllib3

            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # one line of ours says it

    def __enter__(self) -> "Transport":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()

    def send(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        read: float = READ,
    ) -> Answer:
        """Send one request, with a form or a JSON document or nothing; raises UnreachableError when no answer came."""
        import requests  # noqa: TID251  # this package is the door

        try:
            answer = self.session.request(
                method,
                url,
                params=query,
                headers=headers,
                data=form,
                json=document,
                timeout=(CONNECT, read),
                allow_redirects=False,
                proxies=requests.utils.get_environ_proxies(url, no_proxy=None),
            )
        except (requests.RequestException, OSError) as error:
            raise explain(error, url, self._authority) from error
        place = answer.headers.get("Location", "") if 300 <= answer.status_code < 400 else ""
        return Answer(
            status=answer.status_code,
            url=answer.url,
            target=urljoin(answer.url, place) if place else "",
            text=answer.content.decode("utf-8", "replace"),
            is_html="html" in answer.headers.get("Content-Type", ""),
        )

    def forget_cookies(self) -> None:
        """Forget what any server set."""
        self.session.cookies.clear()


def _verify(authority: Path | None, checked: bool) -> bool | str:
    if not checked:
        return False
    if authority is not None:
        return str(authority)
    return next((path for name in BUNDLES if (path := os.environ.get(name, "")) and Path(path).exists()), True)
