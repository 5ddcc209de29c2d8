"""The login against servers with every kind of gateway; each fault ends in its message."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.errors import RunError
from src.kube.answers import NoRightsError, NotFoundError
from src.kube.api import Api
from src.kube.login import NotLoggedInError
from src.kube.server import read_server
from src.kube.unreachable import Cause, UnreachableError
from src.kube.walk import LoginRefusedError
from tests.cluster.standin import NAMESPACE, SERVERS, StandIn, stand_in, until, variable


@pytest.fixture(params=SERVERS.values(), ids=list(SERVERS))
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StandIn]:
    """Each server in turn."""
    with stand_in(request.param, tmp_path) as server:
        yield server


@pytest.fixture
def today(tmp_path: Path) -> Iterator[StandIn]:
    with stand_in("", tmp_path) as server:
        yield server


def test_the_address_and_the_ca_are_enough(each: StandIn) -> None:
    with each.open() as api:
        assert api.health().multi_user
        assert api.experiment("autopipe-test", NAMESPACE).namespace == NAMESPACE

    assert each.logins() == 1


def test_a_user_and_a_password_are_used(each: StandIn) -> None:
    with each.open(DEX_USERNAME="admin@example.com", DEX_PASSWORD="admin", DEX_AUTH_TYPE="local") as api:
        assert api.health().multi_user
        with pytest.raises(NoRightsError, match=r"admin@example.com may not list experiments in the namespace team-1"):
            api.experiment("autopipe-test", NAMESPACE)


def test_a_wrong_password_is_told_and_sent_once(each: StandIn) -> None:
    with (
        each.open(DEX_USERNAME="user1@example.com", DEX_PASSWORD="s3cret") as api,
        pytest.raises(LoginRefusedError, match=r"wrong user name or password: .* refuses user1@example.com") as caught,
    ):
        api.health()

    assert each.logins() == 1
    assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"


def test_sessions_that_are_ended_are_opened_again(each: StandIn) -> None:
    with each.open() as api:
        api.health()
        for _ in range(3):
            each.order("expire-sessions")
            assert api.find_runs("no such run", NAMESPACE) == ()

    assert each.logins() == 4


def test_sessions_that_live_a_moment_are_enough(each: StandIn) -> None:
    each.order("session-ttl", seconds=1)
    with each.open() as api:

        def several() -> bool | None:
            assert api.find_runs("no such run", NAMESPACE) == ()
            return True if each.logins() >= 3 else None

        assert until(several)


def test_a_cookie_that_is_renewed_all_the_time_is_kept(tmp_path: Path) -> None:
    with stand_in("_19", tmp_path) as server, server.open() as api:

        def long_used() -> bool | None:
            # Renewed each second, and the one before dies 3 s later: a cookie that was stored once is long dead.
            assert api.find_runs("no such run", NAMESPACE) == ()
            return True if len(server.asked("GET", "/runs 200")) >= 30 else None

        assert until(long_used)
        assert server.logins() == 1


def test_a_page_in_the_place_of_an_answer_is_a_login_to_do(each: StandIn) -> None:
    with each.open() as api:
        api.health()
        each.order("fault", kind="html", count=1)
        assert api.find_runs("no such run", NAMESPACE) == ()

    assert each.logins() == 2


def test_a_gateway_that_shows_pages_for_a_while_is_waited_for(today: StandIn) -> None:
    with today.open() as api:
        api.health()
        today.order("fault", kind="html", count=5)
        assert api.find_runs("no such run", NAMESPACE) == ()


def test_a_gateway_that_shows_pages_from_the_start_is_told_of(today: StandIn) -> None:
    today.order("fault", kind="html", count=50)

    with today.open() as api, pytest.raises(NotLoggedInError, match="does not let us through"):
        api.health()

    assert today.logins() == 1


def test_a_refusal_of_the_gateway_is_tried_once_more(today: StandIn) -> None:
    with today.open() as api:
        today.order("fault", kind="status", status=403, count=1)
        assert api.health().multi_user


@pytest.mark.parametrize("kind", ["reset", "status", "truncate", "lost-reply"])
@pytest.mark.parametrize("path", ["/dex/auth/local", "/oauth2/callback"])
def test_a_login_that_is_disturbed_is_done_again(today: StandIn, kind: str, path: str) -> None:
    with today.open() as api:
        today.order("fault", kind=kind, path=path, count=1, status=503)
        assert api.health().multi_user


def test_a_connector_that_is_not_there_is_told(tmp_path: Path) -> None:
    with stand_in("_SEVERAL", tmp_path) as server, server.open(DEX_AUTH_TYPE="saml") as api:
        with pytest.raises(LoginRefusedError, match="does not offer saml, only github, ldap, local"):
            api.health()
        assert server.logins() == 0


def test_a_connector_without_a_form_gets_no_password(tmp_path: Path) -> None:
    with stand_in("_SEVERAL", tmp_path) as server, server.open(DEX_AUTH_TYPE="github") as api:
        with pytest.raises(RunError, match="no login"):
            api.health()
        assert server.logins() == 0


def test_a_namespace_that_is_not_there_is_told_as_such(each: StandIn) -> None:
    with (
        each.open() as api,
        pytest.raises(NoRightsError, match="the namespace nowhere, or there is no such") as caught,
    ):
        api.experiment("autopipe-test", "nowhere")

    assert "KUBE_NAMESPACE" in caught.value.hint


# --- Tokens ---


def test_a_bearer_token_needs_no_login(today: StandIn) -> None:
    with today.open(KFP_TOKEN=variable("KFP_LAB_TOKEN")) as api:
        assert api.experiment("autopipe-test", NAMESPACE).id

    assert today.logins() == 0


def test_a_token_file_is_read_anew_each_time(today: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(variable("KFP_LAB_TOKEN") + "\n")
    with today.open(KFP_TOKEN_FILE=str(path)) as api:
        api.health()
        path.write_text("another\n")
        with pytest.raises(LoginRefusedError, match="does not accept KFP_TOKEN_FILE: 401"):
            api.find_runs("no such run", NAMESPACE)
        path.write_text(variable("KFP_LAB_TOKEN"))
        assert api.find_runs("no such run", NAMESPACE) == ()


def test_a_wrong_token_is_refused_by_each_gateway_and_never_shown(each: StandIn) -> None:
    with each.open(KFP_TOKEN="s3cret") as api, pytest.raises(LoginRefusedError, match="not accept KFP_TOKEN") as caught:
        api.health()

    assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"


def service_account_token(audience: str) -> str:
    command = ["kubectl", "create", "token", "default-editor", "-n", NAMESPACE, "--audience", audience]
    environ = {"KUBECONFIG": variable("KUBECONFIG"), "PATH": variable("PATH")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return done.stdout.strip()


def test_the_pods_token_is_taken_by_the_server_itself(today: StandIn, tmp_path: Path) -> None:
    pod_token = tmp_path / "token"
    pod_token.write_text(service_account_token("pipelines.kubeflow.org"))
    settings = today.settings(KFP_API_URL=variable("KFP_LAB_DIRECT"), KFP_CA_CERT="")

    with Api(read_server(settings, pod_token)) as api:
        assert api.experiment("autopipe-test", NAMESPACE).namespace == NAMESPACE


def test_a_token_of_another_audience_is_told_with_the_servers_words(today: StandIn, tmp_path: Path) -> None:
    pod_token = tmp_path / "token"
    pod_token.write_text(service_account_token("https://kubernetes.default.svc.cluster.local"))
    settings = today.settings(KFP_API_URL=variable("KFP_LAB_DIRECT"), KFP_CA_CERT="")

    with (
        Api(read_server(settings, pod_token)) as api,
        pytest.raises(LoginRefusedError, match=r"the pod's token: 401 .*invalid for the target audiences"),
    ):
        api.experiment("autopipe-test", NAMESPACE)


# --- Addresses and certificates ---


def test_a_server_without_a_gateway_has_no_login(today: StandIn) -> None:
    with (
        today.open(KFP_API_URL=variable("KFP_LAB_DIRECT"), KFP_CA_CERT="") as api,
        pytest.raises(RunError, match="there is no login at") as caught,
    ):
        api.experiment("autopipe-test", NAMESPACE)

    assert "KFP_TOKEN" in caught.value.hint


@pytest.mark.parametrize("tail", ["/", "/#/runs", "/apis/v2beta1"])
def test_addresses_as_people_copy_them_work(today: StandIn, tail: str) -> None:
    with today.open(KFP_API_URL=today.url + tail) as api:
        assert api.health().multi_user


def test_an_address_without_its_path_is_told(today: StandIn) -> None:
    with (
        today.open(KFP_API_URL=today.url.removesuffix("/pipeline")) as api,
        pytest.raises(NotFoundError, match="no Kubeflow Pipelines API below KFP_API_URL"),
    ):
        api.health()


def cause(server: StandIn, **values: str) -> tuple[Cause, str]:
    with Api(server.server(**values)) as api, pytest.raises(UnreachableError) as caught:
        api.health()
    return caught.value.cause, f"{caught.value.message} {caught.value.hint}"


def test_a_certificate_that_nobody_signed_comes_with_the_way_to_its_ca(
    today: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)

    kind, text = cause(today, KFP_CA_CERT="")

    assert kind is Cause.TLS
    assert "kubectl get secret selfsigned-ca-issuer-root-cert" in text


def test_the_ca_of_another_cluster_is_named(today: StandIn) -> None:
    other = variable("KFP_CA_CERT_21")

    kind, text = cause(today, KFP_CA_CERT=other)

    assert kind is Cause.TLS
    assert f"{other} (KFP_CA_CERT) is not its CA" in text


def test_a_ca_of_the_environment_does_not_win(today: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", variable("KFP_CA_CERT_21"))

    with today.open() as api:
        assert api.health().multi_user


def test_the_check_can_be_switched_off_and_says_so(today: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    with today.open(KFP_CA_CERT="", KFP_SKIP_TLS_VERIFY="true") as api:
        assert api.health().multi_user

    assert any("is not checked (KFP_SKIP_TLS_VERIFY)" in record.message for record in caplog.records)


def test_wrong_ports_names_and_schemes_are_told_apart(today: StandIn) -> None:
    host = today.url.split("/")[2]
    direct = variable("KFP_LAB_DIRECT").split("/")[2]

    assert cause(today, KFP_API_URL="https://127.0.0.1:9/pipeline")[0] is Cause.REFUSED
    assert cause(today, KFP_API_URL="https://nowhere.invalid/pipeline")[0] is Cause.NAME
    kind, text = cause(today, KFP_API_URL=f"http://{host}/pipeline")
    assert kind is Cause.CUT
    assert "must begin with https://" in text
    kind, text = cause(today, KFP_API_URL=f"https://{direct}/pipeline")
    assert kind is Cause.TLS
    assert "does not speak TLS" in text


def test_nothing_that_is_logged_holds_a_secret(each: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "autopipe")
    with each.open() as api:
        api.health()
        each.order("fault", kind="reset", count=3)
        api.find_runs("no such run", NAMESPACE)
        shown = json.dumps([repr(api.__dict__), *(record.getMessage() for record in caplog.records)])

    assert "trying again" in shown
    assert "'user1'" not in shown
    assert "code=" not in shown
