"""The way through the pages of a login: from each answer to the next request; pure.

A browser's way: through oauth2-proxy (or AuthService) to Dex's form, and back with a session.
Source: recorded logins of Dex 2.39 behind oauth2-proxy 7.6 as deployKF sets them up, and the pages of older ones.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from src.errors import RunError
from src.kube.answers import check_outage, words
from src.kube.pages import Form, Page, read_page
from src.kube.server import Server, User
from src.kube.transport import Answer

USUAL_CONNECTORS = ("local", "ldap")
_CONNECTOR = re.compile(r"/auth/([^/]+)$")
_FORM_PATH = re.compile(r"/auth/[^/]+(/login)?$")


class LoginRefusedError(RunError):
    """The server does not accept the user, the password or the token."""


class StartAgain(Exception):  # noqa: N818  # not an error yet
    """A page of the login was used up or expired."""


@dataclass(frozen=True, kw_only=True)
class Hop:
    """The next request of a login."""

    method: str
    url: str = field(repr=False)
    form: dict[str, str] | None = field(default=None, repr=False)


class Walk:
    """One walk through the pages of a login; decides from each answer what to ask next, and sends nothing itself."""

    def __init__(self, server: Server, user: User) -> None:
        self._server = server
        self._user = user
        self._hosts = {urlsplit(server.url).hostname}
        self._asked = False  # oauth2-proxy's start page was called
        self._posted = False  # the password was sent
        self._returned = False  # Dex sent us back with a code

    def follow(self, answer: Answer) -> Hop | None:
        """Return the next request, or None when the walk has arrived."""
        if answer.target:
            return Hop(method="GET", url=self._check_redirect(answer))
        if answer.status >= 500:
            check_outage(answer, self._server.host)
        page = read_page(answer.text)
        if not self._asked and any(form.action.endswith("/start") for form in page.forms):
            return self._start(page, answer.url)
        for form in page.forms:
            if form.first("password"):
                return self._fill_in(form, answer)
            if form.values().get("approval") == "approve":
                return Hop(method="POST", url=urljoin(answer.url, form.action), form=form.values())
        names = {match[1]: link for link in page.links if (match := _CONNECTOR.search(urlsplit(link).path))}
        if names and not self._posted:
            return Hop(method="GET", url=urljoin(answer.url, names[self._choose(names)]))
        if answer.status in (401, 403) and not self._asked and not self._posted:
            return self._start(page, answer.url)
        lost = 300 <= answer.status < 400  # a redirect to nowhere
        if lost or answer.status == 400 or (answer.status in (401, 403) and self._posted):
            raise StartAgain(words(answer))
        if answer.status < 300 and self._is_home(answer.url):
            return None
        raise RunError(
            f"there is no login at {self._server.url}: {answer.status} {words(answer)}",
            hint="KFP_API_URL is the address of the pipelines UI behind the gateway; or set KFP_TOKEN (KFP_TOKEN_FILE)",
        )

    def _check_redirect(self, answer: Answer) -> str:
        here, there = urlsplit(self._server.url), urlsplit(answer.target)
        query = parse_qs(there.query)
        if not self._hosts & {there.hostname} and "client_id" in query and "redirect_uri" in query:
            # Dex and the way back from it may have names of their own; a login elsewhere shows in its form.
            self._hosts |= {there.hostname, urlsplit(query["redirect_uri"][0]).hostname}
        moved = (there.scheme, there.netloc) != (here.scheme, here.netloc)
        if moved and there.path.rstrip("/") == here.path and not self._posted:
            url = f"{there.scheme}://{there.netloc}{here.path}"
            raise RunError(f"{self._server.url} has moved to {url}", hint=f"set KFP_API_URL={url}")
        if there.hostname not in self._hosts:
            raise _elsewhere(there.netloc)
        if here.scheme == "https" and there.scheme != "https":
            raise RunError(
                f"the login at {self._server.host} goes on without TLS", hint="the gateway must be set up for https"
            )
        if self._posted and "code" in query:
            self._returned = True
        return answer.target

    def _fill_in(self, form: Form, answer: Answer) -> Hop:
        url = urljoin(answer.url, form.action)
        place = urlsplit(url)
        if self._returned:
            raise RunError(
                f"{self._server.host} forgets the login at once",
                hint="if KFP_API_URL begins with http://, its cookies are for https only: use the https address",
            )
        if self._posted:
            raise self._refused()
        if place.hostname not in self._hosts or not _FORM_PATH.search(place.path):
            raise _elsewhere(place.netloc)
        if urlsplit(self._server.url).scheme == "https" and place.scheme != "https":
            raise RunError(
                f"{place.netloc} asks for the password without TLS", hint="the gateway must be set up for https"
            )
        name, password = form.first("text", "email"), form.first("password")
        if name is None or password is None:
            raise _elsewhere(place.netloc)
        self._posted = True
        filled = {name.name: self._user.name, password.name: self._user.password}
        return Hop(method="POST", url=url, form={**form.values(), **filled})

    def _choose(self, names: dict[str, str]) -> str:
        wanted = (self._user.connector,) if self._user.connector else USUAL_CONNECTORS
        found = next((name for name in wanted if name in names), None)
        if found is None:
            raise LoginRefusedError(
                f"the login at {self._server.host} does not offer {wanted[0]}, only {', '.join(sorted(names))}",
                hint="set DEX_AUTH_TYPE to the one that takes a user name and a password, or set KFP_TOKEN",
            )
        return found

    def _start(self, page: Page, url: str) -> Hop:
        """Go where oauth2-proxy starts a login: where its sign-in page leads, else its usual place."""
        self._asked = True
        back = {"rd": urlsplit(self._server.url).path or "/"}
        form = next((form for form in page.forms if form.action.endswith("/start")), None)
        action, values = (form.action, form.values()) if form else ("/oauth2/start", {})
        return Hop(method="GET", url=f"{urljoin(url, action)}?{urlencode({**back, **values})}")

    def _is_home(self, url: str) -> bool:
        return urlsplit(url).path.rstrip("/").startswith(urlsplit(self._server.url).path)

    def _refused(self) -> LoginRefusedError:
        if self._user.default:
            return LoginRefusedError(
                f"{self._server.host} asks for a login, none is set, and deployKF's {self._user.name} is refused",
                hint="set DEX_USERNAME and DEX_PASSWORD, or KFP_TOKEN",
            )
        return LoginRefusedError(
            f"wrong user name or password: {self._server.host} refuses {self._user.name}",
            hint="check DEX_USERNAME and DEX_PASSWORD; DEX_AUTH_TYPE if the user is not one of Dex's own",
        )


def _elsewhere(host: str) -> RunError:
    return RunError(
        f"the login goes on at {host}, where a program cannot log in", hint="set KFP_TOKEN or KFP_TOKEN_FILE instead"
    )
