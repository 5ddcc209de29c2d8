"""Logs a user in: walks through the pages of a login, and starts again where they turn out to be used up."""

from src.errors import RunError
from src.kube.server import Server, User
from src.kube.transport import Transport
from src.kube.walk import Hop, StartAgain, Walk

TRIES = 3
HOPS = 25
"""Requests of one login; 7 to 9 are usual."""

_PLAIN = "KFP_API_URL begins with http://, and cookies may be for https only: use the https address"
_BROWSER = "log in with a browser: does it work there?"


class NotLoggedInError(RunError):
    """A login that was accepted does not lead to the server."""


def log_in(transport: Transport, server: Server, user: User) -> None:
    """Fill the transport's jar with a session of the user.

    Raises LoginRefusedError, OutageError or UnreachableError, or RunError when there is no login that a program can do.
    """
    reason = ""
    for _ in range(TRIES):
        transport.forget_cookies()
        try:
            _walk(transport, server, user)
        except StartAgain as again:
            reason = str(again)
        else:
            return
    plain = server.url.startswith("http:")
    raise NotLoggedInError(f"the login at {server.host} breaks off: {reason}", hint=_PLAIN if plain else _BROWSER)


def _walk(transport: Transport, server: Server, user: User) -> None:
    walk = Walk(server, user)
    hop: Hop | None = Hop(method="GET", url=server.url)
    for _ in range(HOPS):
        if hop is None:
            return
        # No "Accept: application/json": it turns the redirect to the login into a bare 401.
        hop = walk.follow(transport.send(hop.method, hop.url, form=hop.form))
    raise NotLoggedInError(f"the login at {server.host} goes round in circles", hint=_BROWSER)
