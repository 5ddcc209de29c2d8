"""Which server and which login the settings name."""

from pathlib import Path

import pytest

from src.errors import ConfigError
from src.kube.server import Token, User, clean_server_url, read_server
from src.kube.transport import Transport
from src.settings import Settings, load_settings

NOWHERE = Path("/nonexistent/token")
URL = "https://deploykf.example.com:8443/pipeline"


def settings(tmp_path: Path, **values: str) -> Settings:
    empty = tmp_path / "empty.env"
    empty.touch()
    return load_settings(empty, {"KFP_API_URL": URL, **values})


@pytest.mark.parametrize(
    "text",
    [
        URL,
        f"{URL}/",
        f"{URL}/#/runs?namespace=team-1",
        f"{URL}/apis/v2beta1",
        f"{URL}/apis",
        "https://deploykf.example.com:8443/_/pipeline/?ns=team-1#/experiments",
    ],
)
def test_what_people_copy_is_understood(text: str) -> None:
    assert clean_server_url(text) == URL


def test_a_server_without_a_path_has_none() -> None:
    assert clean_server_url("http://ml-pipeline.kubeflow:8888/") == "http://ml-pipeline.kubeflow:8888"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not set"),
        ("deploykf.example.com:8443/pipeline", "is no URL"),
        ("ftp://host/pipeline", "is no URL"),
        ("https:///pipeline", "is no URL"),
        ("https://host:99999/pipeline", "is no URL"),
        ("https://a b/pipeline", "is no URL"),
        ("https://me:hunter2@host/pipeline", "holds a user name or password"),
        ("me:hunter2@host/pipeline", "is no URL"),
    ],
)
def test_what_is_no_address_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        clean_server_url(text)

    assert caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_without_a_login_deploykfs_first_user_stands_by(tmp_path: Path) -> None:
    login = read_server(settings(tmp_path), NOWHERE).login

    assert login == User(name="user1@example.com", password="user1", default=True)


def test_the_pods_token_is_found_by_itself_and_loses_to_what_is_set(tmp_path: Path) -> None:
    pod = tmp_path / "token"
    pod.write_text("pod-token\n")

    found = read_server(settings(tmp_path), pod).login
    chosen = read_server(settings(tmp_path, DEX_USERNAME="me", DEX_PASSWORD=" p w "), pod).login

    assert found == Token(origin="the pod's token", path=pod)
    assert isinstance(found, Token)
    assert found.read() == "pod-token"
    assert chosen == User(name="me", password=" p w ")  # blanks of a password are its own


def test_a_token_wins_over_a_file_and_a_file_over_a_user(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("from-file")
    both = {"KFP_TOKEN_FILE": str(path), "DEX_USERNAME": "me", "DEX_PASSWORD": "p"}

    first = read_server(settings(tmp_path, KFP_TOKEN="given", **both), NOWHERE).login
    second = read_server(settings(tmp_path, **both), NOWHERE).login

    assert first == Token(origin="KFP_TOKEN", value="given")
    assert second == Token(origin="KFP_TOKEN_FILE", path=path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"KFP_TOKEN": "two words"}, "KFP_TOKEN holds no token"),
        ({"KFP_TOKEN": "a\nEvil: header"}, "KFP_TOKEN holds no token"),
        ({"KFP_TOKEN": "törken"}, "KFP_TOKEN holds no token"),
        ({"KFP_TOKEN_FILE": "/nonexistent/token"}, "KFP_TOKEN_FILE: cannot read /nonexistent/token: No such file"),
        ({"DEX_USERNAME": "me"}, "DEX_USERNAME is set and DEX_PASSWORD is not"),
        ({"DEX_PASSWORD": "hunter2"}, "DEX_PASSWORD is set and DEX_USERNAME is not"),
        ({"DEX_AUTH_TYPE": "ldap or so"}, "DEX_AUTH_TYPE is no name"),
        ({"KFP_CA_CERT": "/nonexistent/ca.crt"}, "KFP_CA_CERT: cannot read /nonexistent/ca.crt"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_server(settings(tmp_path, **values), NOWHERE)

    assert caught.value.status == 2
    assert caught.value.hint
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"
    assert "Evil" not in f"{caught.value.message}{caught.value.hint}"


def test_an_empty_token_file_and_one_that_is_no_certificate_are_told(tmp_path: Path) -> None:
    empty, junk = tmp_path / "empty", tmp_path / "ca.crt"
    empty.touch()
    junk.write_text("no PEM")

    with pytest.raises(ConfigError, match="KFP_TOKEN_FILE holds no token"):
        read_server(settings(tmp_path, KFP_TOKEN_FILE=str(empty)), NOWHERE)
    with pytest.raises(ConfigError, match=r"ca\.crt holds no certificate"):
        read_server(settings(tmp_path, KFP_CA_CERT=str(junk)), NOWHERE)


def test_no_secret_is_shown_by_a_record(tmp_path: Path) -> None:
    made = settings(tmp_path, DEX_USERNAME="me", DEX_PASSWORD="hunter2")
    token = settings(tmp_path, KFP_TOKEN="hunter2")

    shown = f"{made!r} {read_server(made, NOWHERE)!r} {token!r} {read_server(token, NOWHERE)!r}"

    assert "hunter2" not in shown


def test_the_certificate_is_checked_unless_told_otherwise(tmp_path: Path) -> None:
    assert read_server(settings(tmp_path), NOWHERE).checked
    assert not read_server(settings(tmp_path, KFP_SKIP_TLS_VERIFY="yes"), NOWHERE).checked
    with pytest.raises(ConfigError, match="KFP_SKIP_TLS_VERIFY is neither true nor false: perhaps"):
        settings(tmp_path, KFP_SKIP_TLS_VERIFY="perhaps")


def test_a_ca_of_ours_wins_over_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # requests lets REQUESTS_CA_BUNDLE win over session.verify unless its trust in the environment is off.
    theirs, ours = tmp_path / "theirs.pem", tmp_path / "ours.pem"
    theirs.touch()
    ours.touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(theirs))

    def used(transport: Transport) -> object:
        made = transport.session.merge_environment_settings(URL, {}, None, None, None)
        return made["verify"]

    assert used(Transport(authority=ours)) == str(ours)
    assert used(Transport(checked=False)) is False
    assert used(Transport()) == str(theirs)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert used(Transport()) is True


def test_netrc_does_not_replace_our_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine deploykf.example.com login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    from tests.unit.kube_fake import Fake, reply

    fake = Fake(lambda asked: reply({}))
    fake.connect().send("GET", URL, headers={"Authorization": "Bearer ours"})

    assert fake.asked[0].headers["Authorization"] == "Bearer ours"


def test_a_proxy_of_the_environment_is_used_unless_it_is_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.kube_fake import Fake, reply

    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    fake = Fake(lambda asked: reply({}))
    transport = fake.connect()

    transport.send("GET", URL)
    monkeypatch.setenv("NO_PROXY", "deploykf.example.com")
    transport.send("GET", URL)

    assert [dict(option["proxies"]).get("https") for option in fake.options] == ["http://proxy.test:3128", None]


def test_settings_have_the_defaults_of_deploykf(tmp_path: Path) -> None:
    made = settings(tmp_path, RUN_TIMEOUT="90m")

    assert made.kube_namespace == "team-1"
    assert made.run_timeout == 5400
    assert settings(tmp_path).run_timeout is None
    with pytest.raises(ConfigError, match="RUN_TIMEOUT is no duration: soon"):
        settings(tmp_path, RUN_TIMEOUT="soon")


def test_a_ca_file_is_accepted(tmp_path: Path) -> None:
    import certifi

    assert read_server(settings(tmp_path, KFP_CA_CERT=certifi.where()), NOWHERE).authority == Path(certifi.where())
