"""The login through every gateway of KUBEFLOW.md's kinds, and the ways it goes wrong."""

import logging
from collections.abc import Iterable
from typing import Any

import pytest

from src.errors import RunError
from src.kube.answers import OutageError
from src.kube.login import NotLoggedInError, log_in
from src.kube.server import Server, Token, User
from src.kube.session import Session
from src.kube.transport import Answer
from src.kube.walk import Hop, LoginRefusedError, StartAgain, Walk
from tests.unit.kube_fake import HOST, LOGIN, PASSWORD, USER, Asked, Fake, Gateway, Reply, page, reply, see, server

VARIANTS: dict[str, dict[str, Any]] = {
    "deploykf": {},
    "sign-in page": {"sign_in_page": True},
    "several connectors, split cookie": {"connectors": ("google", "ldap", "local"), "split": True},
    "approval": {"approval": True, "sign_in_page": True},
    "old dex": {"old_dex": True, "approval": True, "wrong_status": 200},
    "rotated cookies": {"rotate": True},
}


def call(gateway: Gateway, login: Token | User = LOGIN, calls: int = 1) -> Fake:
    fake = Fake(gateway)
    session = Session(server(login), fake.connect())
    for _ in range(calls):
        assert session.call("GET", "/healthz") == {"multi_user": True}
    return fake


def posts(fake: Fake) -> list[Asked]:
    return [asked for asked in fake.asked if "password" in asked.form]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_gateway_is_passed_with_one_login(variant: str) -> None:
    fake = call(Gateway(**VARIANTS[variant]), calls=5)

    assert len(posts(fake)) == 1
    assert fake.asked[-1].path == "/pipeline/apis/v2beta1/healthz"


def test_the_login_is_the_recorded_one() -> None:
    fake = call(Gateway())

    assert fake.paths() == [
        "GET /pipeline/apis/v2beta1/healthz",
        "GET /pipeline",
        "GET /dex/auth",
        "GET /dex/auth/local",
        "GET /dex/auth/local/login",
        "POST /dex/auth/local/login",
        "GET /oauth2/callback",
        "GET /pipeline",
        "GET /pipeline/apis/v2beta1/healthz",
    ]
    assert posts(fake)[0].form == {"login": USER, "password": PASSWORD}
    assert "application/json" not in fake.asked[1].headers["Accept"]  # it would turn the redirect into a 401
    assert all(option["verify"] is not False and option["timeout"] for option in fake.options)


def test_a_server_without_login_is_asked_for_none() -> None:
    fake = Fake(lambda asked: reply({"multi_user": False}))

    Session(server(), fake.connect()).call("GET", "/healthz")

    assert fake.paths() == ["GET /pipeline/apis/v2beta1/healthz"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_session_that_ends_is_replaced(variant: str) -> None:
    gateway = Gateway(expire=2, **VARIANTS[variant])

    fake = call(gateway, calls=7)

    assert len(posts(fake)) == 4
    assert len([path for path in fake.paths() if path.endswith("/healthz")]) == 7 + 4  # each refusal is asked once more


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_wrong_password_is_told_and_not_tried_again(variant: str) -> None:
    fake = Fake(Gateway(**VARIANTS[variant]))
    session = Session(server(User(name=USER, password="wrong one")), fake.connect())

    with pytest.raises(LoginRefusedError, match=f"wrong user name or password: .*{USER}") as caught:
        session.call("GET", "/healthz")

    assert len(posts(fake)) == 1
    assert "wrong one" not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.status == 5


def test_deploykfs_first_user_is_tried_where_none_is_set(caplog: pytest.LogCaptureFixture) -> None:
    fake = Fake(Gateway())
    default = User(name=USER, password=PASSWORD, default=True)

    with caplog.at_level(logging.INFO, "autopipe"):
        Session(server(default), fake.connect()).call("GET", "/healthz")

    assert [record.message for record in caplog.records] == [
        "logged in to deploykf.example.com:8443 as user1@example.com, deployKF's first user, since no login is set"
    ]


def test_deploykfs_first_user_is_refused_with_what_to_set() -> None:
    fake = Fake(Gateway())
    session = Session(server(User(name=USER, password="user1", default=True)), fake.connect())

    with pytest.raises(LoginRefusedError, match="none is set") as caught:
        session.call("GET", "/healthz")

    assert "DEX_USERNAME" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "offered", "path"),
    [
        (None, ("google", "ldap", "local"), "/dex/auth/local/login"),
        (None, ("google", "ldap"), "/dex/auth/ldap/login"),
        ("ldap", ("google", "ldap", "local"), "/dex/auth/ldap/login"),
        ("corp-ad", ("corp-ad", "local"), "/dex/auth/corp-ad/login"),
    ],
)
def test_the_connector_is_chosen(given: str | None, offered: tuple[str, ...], path: str) -> None:
    fake = call(Gateway(connectors=offered), User(name=USER, password=PASSWORD, connector=given))

    assert posts(fake)[0].path == path


def test_a_connector_that_is_not_there_is_told_with_those_that_are() -> None:
    fake = Fake(Gateway(connectors=("google", "github")))

    with pytest.raises(LoginRefusedError, match="does not offer local, only github, google") as caught:
        log_in(fake.connect(), server(), LOGIN)

    assert "DEX_AUTH_TYPE" in caught.value.hint


def test_a_form_that_is_used_up_starts_the_login_again() -> None:
    fake = call(Gateway(stale_forms=2))

    assert [path for path in fake.paths()[1:] if path == "GET /pipeline"] == ["GET /pipeline"] * 4


def test_a_redirect_to_nowhere_starts_the_login_again() -> None:
    with pytest.raises(StartAgain):
        Walk(server(), LOGIN).follow(Answer(status=302, url=START, text=""))


def test_a_login_that_always_breaks_off_ends() -> None:
    fake = Fake(Gateway(stale_forms=100))

    with pytest.raises(NotLoggedInError, match="breaks off: Bad Request User session error"):
        log_in(fake.connect(), server(), LOGIN)

    assert len(posts(fake)) == 3


def test_the_jar_is_empty_when_a_login_starts() -> None:
    gateway = Gateway(expire=1)

    fake = call(gateway, calls=3)

    starts = [asked for asked in fake.asked if asked.path == "/pipeline" and not asked.cookies]
    assert len(starts) == 3  # a dead session would be sent with every one of them


def test_secure_cookies_over_http_are_explained() -> None:
    gateway = Gateway()

    def over_http(asked: Asked) -> Reply:
        answer = gateway(asked)
        place = answer.location.replace("https://", "http://") if answer.location else ""
        return Reply(status=answer.status, kind=answer.kind, body=answer.body, location=place, cookies=answer.cookies)

    fake = Fake(over_http)

    with pytest.raises(RunError) as caught:
        log_in(fake.connect(), server(url=HOST.replace("https", "http") + "/pipeline"), LOGIN)

    # The csrf cookie is not sent back, so that Dex's answer is never taken.
    assert "breaks off" in caught.value.message
    assert "use the https address" in caught.value.hint


def test_a_session_that_is_not_kept_is_no_wrong_password() -> None:
    walk = Walk(server(), LOGIN)
    form = (
        '<form method=post action="/dex/auth/local/login?state=s"><input name=login><input type=password name=p></form>'
    )
    assert walk.follow(html(f"{HOST}/dex/auth/local/login?state=s", form)) is not None
    assert walk.follow(redirect(f"{HOST}/dex/auth/local/login", f"{HOST}/oauth2/callback?code=c&state=s")) is not None

    with pytest.raises(RunError, match="forgets the login"):
        walk.follow(html(f"{HOST}/dex/auth/local/login?state=t", form))


def html(url: str, body: str, status: int = 200) -> Answer:
    return Answer(status=status, url=url, text=body, is_html=True)


def redirect(url: str, target: str) -> Answer:
    return Answer(status=302, url=url, target=target, text="")


def form_to(action: str) -> str:
    return f'<form method=post action="{action}"><input name=login><input type=password name=password></form>'


START = f"{HOST}/pipeline"
GOOGLE = "https://accounts.google.com"
STOPS: dict[str, tuple[list[Answer], str]] = {
    "a form that is not Dex's": (
        [
            redirect(START, f"{GOOGLE}/o/oauth2/auth?client_id=x&redirect_uri=https%3A//a/b"),
            html(f"{GOOGLE}/v3/signin", form_to("/v3/go")),
        ],
        "goes on at accounts.google.com",
    ),
    "elsewhere": ([redirect(START, "https://elsewhere.test/pipeline/x")], "goes on at elsewhere.test"),
    "downgrade": ([redirect(START, "http://deploykf.example.com/dex/auth?x=1")], "without TLS"),
    "moved": ([redirect(START, "https://other.test:444/pipeline/")], "has moved to https://other.test:444/pipeline"),
    "wrong path": ([html(START, "404 page not found", 404)], "no login at"),
    "no proxy": ([html(START, "no", 403), html(f"{HOST}/oauth2/start?rd=/pipeline", "no", 404)], "no login at"),
}


@pytest.mark.parametrize(("answers", "message"), STOPS.values(), ids=list(STOPS))
def test_logins_that_a_program_cannot_do_end_before_the_password(answers: Iterable[Answer], message: str) -> None:
    walk = Walk(server(), LOGIN)
    hops: list[Hop | None] = []

    with pytest.raises(RunError, match=message):
        hops += [walk.follow(answer) for answer in answers]

    assert all(hop is None or hop.form is None for hop in hops)


def test_a_form_that_leads_to_http_gets_no_password() -> None:
    form = form_to("http://deploykf.example.com:8080/dex/auth/local/login?state=s")

    with pytest.raises(RunError, match="asks for the password without TLS"):
        Walk(server(), LOGIN).follow(html(f"{HOST}/dex/auth/local/login?state=s", form))


def test_dex_may_have_a_name_of_its_own() -> None:
    inside = Server(url="https://deploykf-gateway.deploykf-istio-gateway.svc/pipeline", login=LOGIN)
    walk = Walk(inside, LOGIN)
    query = f"client_id=oauth2-proxy&redirect_uri={HOST}/oauth2/callback&state=s"

    hop = walk.follow(redirect(f"{inside.url}", f"{HOST}/dex/auth?{query}"))

    assert hop == Hop(method="GET", url=f"{HOST}/dex/auth?{query}")


def test_an_ill_gateway_in_the_middle_of_a_login_is_an_outage() -> None:
    gateway = Gateway()
    fake = Fake(lambda asked: Reply(status=503, kind="text/plain", body="no healthy upstream")
                if asked.path == "/dex/auth/local" else gateway(asked))  # fmt: skip

    with pytest.raises(OutageError, match="503: no healthy upstream"):
        log_in(fake.connect(), server(), LOGIN)


def test_a_login_that_goes_round_in_circles_ends() -> None:
    fake = Fake(lambda asked: see(f"{HOST}/pipeline?again"))

    with pytest.raises(NotLoggedInError, match="in circles"):
        log_in(fake.connect(), server(), LOGIN)

    assert len(fake.asked) == 25


def test_a_login_that_leads_nowhere_is_told_from_a_refused_one() -> None:
    gateway = Gateway()
    fake = Fake(lambda asked: Reply(status=401) if "/apis/" in asked.path else gateway(asked))
    session = Session(server(), fake.connect())

    with pytest.raises(NotLoggedInError, match="does not let us through to Kubeflow Pipelines: 401"):
        session.call("GET", "/healthz")

    assert len(posts(fake)) == 1


# --- Tokens ---


def takes(*tokens: str) -> Fake:
    def answer(asked: Asked) -> Reply:
        good = asked.headers.get("Authorization") in {f"Bearer {token}" for token in tokens}
        return reply({"multi_user": True}) if good else reply({"code": 16, "message": "no identity"}, 401)

    return Fake(answer)


def test_a_token_goes_with_every_request() -> None:
    fake = takes("abc")
    session = Session(server(Token(origin="KFP_TOKEN", value="abc")), fake.connect())

    session.call("GET", "/healthz")

    assert len(fake.asked) == 1


def test_a_token_that_is_refused_is_told_once_and_not_shown() -> None:
    fake = takes("abc")
    session = Session(server(Token(origin="KFP_TOKEN", value="s3cret-token")), fake.connect())

    with pytest.raises(LoginRefusedError, match="does not accept KFP_TOKEN: 401 no identity") as caught:
        session.call("GET", "/healthz")

    assert len(fake.asked) == 1
    assert "s3cret" not in f"{caught.value.message} {caught.value.hint} {session.server}"


def test_a_token_file_is_read_anew(tmp_path: Any) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    fake = takes("first")
    session = Session(server(Token(origin="KFP_TOKEN_FILE", path=path)), fake.connect())
    session.call("GET", "/healthz")

    fake.answer = takes("second").answer
    path.write_text("second\n")
    session.call("GET", "/healthz")

    assert [asked.headers["Authorization"] for asked in fake.asked] == ["Bearer first", "Bearer second"]


def test_a_token_that_is_replaced_while_it_is_refused_is_sent_again(tmp_path: Any) -> None:
    path = tmp_path / "token"
    path.write_text("old")

    def answer(asked: Asked) -> Reply:
        path.write_text("new")  # the kubelet renews it at this very moment
        return reply({}) if asked.headers["Authorization"] == "Bearer new" else Reply(status=401)

    fake = Fake(answer)

    assert Session(server(Token(origin="the pod's token", path=path)), fake.connect()).call("GET", "/healthz") == {}


def test_a_dex_page_is_not_taken_for_an_answer_to_a_token() -> None:
    fake = Fake(lambda asked: page("<h2>Log in to Your Account</h2>"))
    session = Session(server(Token(origin="KFP_TOKEN", value="abc")), fake.connect())

    with pytest.raises(LoginRefusedError, match="Log in to Your Account"):
        session.call("GET", "/healthz")
