"""Sends single requests to the Kubernetes API server with the user's credentials; repeats nothing."""

import threading
from collections.abc import Mapping
from typing import Any

from src.kube.cut import unreachable

CONNECT, READ = 10.0, 60.0  # seconds


class ApiServer:
    """The API server as the kubernetes package's client is configured for it."""

    def __init__(self, client: Any) -> None:
        self.configuration = client.configuration
        self._client = client  # closes its connections when it goes
        self._pool = client.rest_client.pool_manager
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """The API server's address."""
        return str(self.configuration.host).rstrip("/")

    def credentials(self) -> dict[str, str]:
        """Return the headers that say who we are; tokens are fetched anew when they have run out."""
        with self._lock:
            found = self.configuration.auth_settings()
        return {str(one["key"]): str(one["value"]) for one in found.values() if one["in"] == "header" and one["value"]}

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Any = None,
        read: float = READ,
    ) -> Any:
        """Send one request and return urllib3's answer, its body not read yet; raises CutError."""
        import urllib3

        try:
            return self._pool.urlopen(
                method,
                self.host + path,
                headers={**headers, **self.credentials()},
                body=body,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=CONNECT, read=read),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(error, self.host) from error
