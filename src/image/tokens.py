"""How a registry wants to be logged in to, and the tokens that it gives.

Sources: distribution's "Token Authentication Specification" and "OAuth2 Token Authentication".
"""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from src.image.login import Login
from src.image.refusals import wrong_password
from src.image.wire import Wire, is_loopback

if TYPE_CHECKING:
    from requests import Response  # noqa: TID251  # wire.py is the door
    from requests.auth import HTTPBasicAuth  # noqa: TID251  # wire.py is the door


def scheme_of(answer: "Response") -> str:
    """Return basic, bearer, or what else a 401 asks for."""
    return answer.headers.get("WWW-Authenticate", "").partition(" ")[0].lower()


def basic_auth(login: Login) -> "HTTPBasicAuth":
    """Return a user and password as requests sends them."""
    from requests.auth import HTTPBasicAuth  # noqa: TID251  # wire.py is the door

    return HTTPBasicAuth(login.username.encode(), login.password.encode())  # as text, Latin-1 would be sent


def fetch_token(wire: Wire, host: str, login: Login | None, refusal: "Response", scope: str) -> str:
    """Return the token that a 401 asks for, empty when there is none for us.

    Raises ImageError for a login that is refused, UnreachableError.
    """
    words = dict(re.findall(r'(\w+)="([^"]*)"', refusal.headers.get("WWW-Authenticate", "")))
    realm = urlsplit(words.get("realm", ""))
    if not realm.netloc:
        return ""
    known = login if realm.scheme == "https" or is_loopback(realm.netloc) else None  # else all could read it
    asked = {"service": words.get("service", ""), "scope": scope}
    if known and known.token:
        asked |= {"grant_type": "refresh_token", "refresh_token": known.token, "client_id": "kubeflow-autopipe"}
        answer = wire.send("POST", words["realm"], data=asked)
    else:
        answer = wire.send("GET", words["realm"], params=asked, auth=basic_auth(known) if known else None)
    if answer.status_code in (400, 401, 403) and known:
        raise wrong_password(host, known)
    try:
        found = answer.json() if answer.status_code == 200 else {}
        return str(found.get("token") or found.get("access_token") or "")
    except (ValueError, AttributeError):  # no JSON, or no object
        return ""
