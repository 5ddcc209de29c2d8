"""A Kubeflow gateway without a network: a requests adapter that answers as the recorded servers do.

The shapes of its answers are those of ../kfp-recordings' login files: Dex 2.39 behind oauth2-proxy 7.6.
"""

import http.client
import io
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from src.kube.server import Server, Token, User
from src.kube.transport import Transport

HOST = "https://deploykf.example.com:8443"
USER, PASSWORD = "user1@example.com", "correct horse"
LOGIN = User(name=USER, password=PASSWORD)
PAST = "Thu, 01 Jan 1970 00:00:00 GMT"


def server(login: Token | User = LOGIN, url: str = HOST + "/pipeline") -> Server:
    return Server(url=url, login=login)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as a server sees it."""

    method: str
    url: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    form: Mapping[str, str]
    document: Any

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int = 200
    kind: str = "application/json"
    body: str = "{}"
    location: str = ""
    cookies: tuple[str, ...] = ()


def reply(document: object, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(document))


def page(body: str, status: int = 200, title: str = "deployKF Auth") -> Reply:
    text = f"<!DOCTYPE html><html><head><title>{title}</title><style>a{{}}</style></head><body>{body}</body></html>"
    return Reply(status=status, kind="text/html; charset=utf-8", body=text)


def see(place: str, status: int = 302, cookies: tuple[str, ...] = ()) -> Reply:
    return Reply(status=status, kind="text/html", body=f'<a href="{place}">Found</a>.', location=place, cookies=cookies)


class Fake(HTTPAdapter):
    """Answers every request with what a function returns or raises; keeps what was asked."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[Asked] = []
        self.options: list[dict[str, Any]] = []

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        raw = request.body or b""
        text = raw.decode() if isinstance(raw, bytes) else str(raw)
        is_form = "form" in request.headers.get("Content-Type", "")
        cookies = SimpleCookie(request.headers.get("Cookie", ""))
        asked = Asked(
            method=request.method or "",
            url=request.url or "",
            headers=dict(request.headers),
            cookies={name: morsel.value for name, morsel in cookies.items()},
            form=dict(parse_qsl(text, keep_blank_values=True)) if is_form else {},
            document=json.loads(text) if text and not is_form else None,
        )
        self.asked.append(asked)
        self.options.append(options)
        return self.build_response(request, _raw(self.answer(asked)))

    def connect(self) -> Transport:
        """Return a transport that reaches this and nothing else."""
        transport = Transport()
        transport.session.adapters.clear()
        transport.session.mount("https://", self)
        transport.session.mount("http://", self)
        return transport

    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked]


class _Original:
    """What cookies are read from."""

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        self.msg = http.client.HTTPMessage()
        for name, value in headers:
            self.msg[name] = value

    def isclosed(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing is open."""


def _raw(answer: Reply) -> urllib3.HTTPResponse:
    headers = [("Content-Type", answer.kind), *(("Set-Cookie", cookie) for cookie in answer.cookies)]
    if answer.location:
        headers.append(("Location", answer.location))
    return urllib3.HTTPResponse(
        body=io.BytesIO(answer.body.encode()),
        headers=urllib3.HTTPHeaderDict(headers),
        status=answer.status,
        preload_content=False,
        original_response=_Original(headers),  # type: ignore[arg-type]
    )


API_PREFIX = "/pipeline/apis/v2beta1"


@dataclass(kw_only=True)
class Gateway:
    """oauth2-proxy and Dex, or what was there before them, in front of an API; forms, codes and states work once.

    expire: the number of API calls that a session lives.
    """

    api: Callable[[Asked], Reply] = lambda asked: reply({"multi_user": True})
    sign_in_page: bool = False
    connectors: tuple[str, ...] = ()
    approval: bool = False
    old_dex: bool = False
    split: bool = False
    wrong_status: int = 401
    expire: int = 1_000_000
    cookie_flags: str = "Path=/; HttpOnly; Secure; SameSite=Lax"
    rotate: bool = False
    stale_forms: int = 0  # that many logins end with "User session error."
    sessions: dict[str, int] = field(default_factory=dict)
    _open: dict[str, str] = field(default_factory=dict)  # Dex's requests: id to the proxy's state
    _codes: set[str] = field(default_factory=set)
    _count: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __call__(self, asked: Asked) -> Reply:
        path = asked.path
        if path == "/oauth2/callback":
            return self._callback(asked)
        if path == "/oauth2/start":
            return self._to_dex(asked.query["rd"])
        if path.startswith("/dex/"):
            return self._dex(asked)
        session = self._session(asked)
        if self.sessions.get(session, 0) <= 0:
            return self._no_session(asked)
        if not path.startswith(API_PREFIX):
            return page('<div id="root"></div>', title="Kubeflow Pipelines")
        self.sessions[session] -= 1
        answer = self.api(asked)
        if self.rotate:  # the old one dies at once
            left = self.sessions.pop(session)
            return Reply(status=answer.status, body=answer.body, cookies=self._new_session(left))
        return answer

    def _session(self, asked: Asked) -> str:
        parts = ("_0", "_1") if self.split else ("",)
        return "".join(asked.cookies.get(f"__Secure-_deploykf_token{part}", "") for part in parts)

    def _no_session(self, asked: Asked) -> Reply:
        is_api = asked.path.startswith(API_PREFIX) or "application/json" in asked.headers.get("Accept", "")
        if is_api and not self.old_dex:
            return Reply(status=401, cookies=(f"__Secure-_deploykf_token=; Path=/; Expires={PAST}",))
        if self.sign_in_page:
            form = f'<input type="hidden" name="rd" value="{asked.path}"><button type="submit">Sign in</button>'
            return page(f'<form method="GET" action="/oauth2/start">{form}</form>', 403, "Sign In")
        return self._to_dex(asked.path)

    def _to_dex(self, back: str) -> Reply:
        nonce = f"nonce{next(self._count)}"
        query = {
            "client_id": "oauth2-proxy",
            "redirect_uri": f"{HOST}/oauth2/callback",
            "response_type": "code",
            "state": f"{nonce}:{back}",
        }
        cookie = f"__Secure-_deploykf_token_csrf_{nonce}={'x' * 300}; {self.cookie_flags}"
        return see(f"{HOST}/dex/auth?{urlencode(query)}", cookies=(cookie,))

    def _dex(self, asked: Asked) -> Reply:
        query = urlsplit(asked.url).query
        if asked.path == "/dex/auth":
            if self.connectors:
                links = (
                    f'<div><a href="/dex/auth/{name}?{query}"><button>{name}</button></a></div>'
                    for name in self.connectors
                )
                return page("<h2>Log in to dex</h2>" + "".join(links).replace("&", "&amp;"))
            return see(f"/dex/auth/local?{query}")
        if asked.path == "/dex/approval":
            return self._approve(asked)
        if "state" in asked.query and not asked.path.endswith("/login"):
            key = f"request{next(self._count)}"
            self._open[key] = asked.query["state"]
            back = quote(f"/dex/auth?{query}") if self.connectors else ""
            return (
                self._form(f"/dex/auth/local?req={key}")
                if self.old_dex
                else see(f"{asked.path}/login?back={back}&state={key}")
            )
        return self._password(asked)

    def _password(self, asked: Asked) -> Reply:
        key = asked.query.get("req" if self.old_dex else "state", "")
        action = f"{asked.path}?{urlsplit(asked.url).query}"
        if key not in self._open:
            return page("<h2>Bad Request</h2><p>User session error.</p>", 400)
        if asked.method == "GET":
            return self._form(action)
        if self.stale_forms:
            self.stale_forms -= 1
            del self._open[key]
            return page("<h2>Bad Request</h2><p>User session error.</p>", 400)
        if (asked.form.get("login"), asked.form.get("password")) != (USER, PASSWORD):
            return self._form(action, error="Invalid Email Address and password.", status=self.wrong_status)
        return see(f"/dex/approval?req={key}&hmac=h", 303) if self.approval else self._grant(key)

    def _form(self, action: str, error: str = "", status: int = 200) -> Reply:
        fields = (
            '<input required id="login" name="login" type="text" placeholder="email address">'
            '<input required id="password" name="password" type="password">'
            f"{f'<div id=login-error>{error}</div>' if error else ''}<button type=submit>Login</button>"
        )
        back = '<a href="/dex/auth?client_id=oauth2-proxy">Select another login method.</a>' if self.connectors else ""
        form = f'<form method="post" action="{action.replace("&", "&amp;")}">{fields}</form>'
        return page(f"<h2>Log in to Your Account</h2>{form}{back}", status)

    def _approve(self, asked: Asked) -> Reply:
        key = asked.query["req"]
        if asked.method == "POST":
            return self._grant(key) if asked.form == {"req": key, "approval": "approve"} else page("Denied", 400)
        field = '<input type="hidden" name="{}" value="{}">'
        choice = "<form method=post>" + field.format("req", key) + field.format("approval", "{}") + "</form>"
        return page("<h2>Grant Access</h2>" + choice.format("rejected") + choice.format("approve"))

    def _grant(self, key: str) -> Reply:
        code = f"code{next(self._count)}"
        self._codes.add(code)
        return see(f"{HOST}/oauth2/callback?{urlencode({'code': code, 'state': self._open.pop(key)})}", 303)

    def _callback(self, asked: Asked) -> Reply:
        nonce, _, back = asked.query["state"].partition(":")
        csrf = f"__Secure-_deploykf_token_csrf_{nonce}"
        if asked.query["code"] not in self._codes or csrf not in asked.cookies:
            form = '<form method="GET" action="/oauth2/sign_in"><input type="hidden" name="rd" value="/"></form>'
            return page(f"<h1>403 Forbidden</h1>{form}", 403, "403 Forbidden")
        self._codes.remove(asked.query["code"])
        return see(back, cookies=(f"{csrf}=; Path=/; Expires={PAST}", *self._new_session(self.expire)))

    def _new_session(self, calls: int) -> tuple[str, ...]:
        value = f"session{next(self._count)}" + "y" * 2000
        self.sessions[value] = calls
        parts = (value[:1000], value[1000:]) if self.split else (value,)
        names = ("_0", "_1") if self.split else ("",)
        return tuple(
            f"__Secure-_deploykf_token{name}={part}; {self.cookie_flags}"
            for name, part in zip(names, parts, strict=True)
        )
