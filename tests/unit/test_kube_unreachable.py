"""Why no answer came, and the words for it."""

import socket
import ssl
from pathlib import Path

import pytest
import requests
import urllib3

from src.kube.unreachable import CA_COMMAND, PORT_FORWARD, Cause, UnreachableError, explain
from tests.unit.kube_fake import Fake, Reply

URL = "https://deploykf.example.com:8443/pipeline"
POOL = urllib3.HTTPSConnectionPool("deploykf.example.com", 8443)
CONNECTION = urllib3.connection.HTTPSConnection("deploykf.example.com", 8443)


def failed(reason: Exception) -> urllib3.exceptions.MaxRetryError:
    return urllib3.exceptions.MaxRetryError(POOL, "/pipeline?code=s3cret", reason)


def not_connected(cause: Exception) -> requests.ConnectionError:
    error = urllib3.exceptions.NewConnectionError(CONNECTION, "Failed to establish a new connection")
    error.__cause__ = cause
    return requests.ConnectionError(failed(error))


def certificate(code: int, message: str = "bad") -> requests.exceptions.SSLError:
    refusal = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refusal.verify_code, refusal.verify_message = code, message
    return requests.exceptions.SSLError(failed(urllib3.exceptions.SSLError(refusal)))


def tls(reason: str) -> requests.exceptions.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return requests.exceptions.SSLError(failed(urllib3.exceptions.SSLError(error)))


def cases() -> dict[str, tuple[Exception, Cause, bool, str, str]]:
    name = socket.gaierror(-2, "Name or service not known")
    refused = ConnectionRefusedError(111, "Connection refused")
    lost = urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))
    half = urllib3.exceptions.ProtocolError("broken", urllib3.exceptions.IncompleteRead(10, 20))
    slow = urllib3.exceptions.ReadTimeoutError(POOL, "/", "Read timed out.")
    eof = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    return {
        "name": (not_connected(name), Cause.NAME, False, "no such host: deploykf.example.com", "127.0.0.1 deploykf"),
        "refused": (not_connected(refused), Cause.REFUSED, False, "8443: connection refused", PORT_FORWARD),
        "no route": (not_connected(OSError(113, "No route to host")), Cause.REFUSED, False, "no route to host", "port"),
        "connect": (requests.ConnectTimeout(failed(slow)), Cause.TIMEOUT, False, "does not answer in time", "VPN"),
        "read": (requests.ReadTimeout(slow), Cause.TIMEOUT, True, "does not answer in time", "overloaded"),
        "reset": (requests.ConnectionError(lost), Cause.CUT, True, "closed the connection", "same command again"),
        "half": (requests.exceptions.ChunkedEncodingError(half), Cause.CUT, True, "closed the connection", "again"),
        "tls eof": (
            requests.exceptions.SSLError(failed(urllib3.exceptions.SSLError(eof))),
            Cause.CUT,
            True,
            "closed",
            "",
        ),
        "proxy": (requests.exceptions.ProxyError("407"), Cause.PROXY, False, "the proxy does not let us", "NO_PROXY"),
        "self-signed": (certificate(19), Cause.TLS, False, "signed by nobody we trust", CA_COMMAND),
        "other CA": (certificate(20), Cause.TLS, False, "signed by nobody we trust", "KFP_CA_CERT"),
        "other name": (
            certificate(62),
            Cause.TLS,
            False,
            "is for another name than deploykf.example.com",
            "KFP_API_URL",
        ),
        "expired": (certificate(10), Cause.TLS, False, "is not valid today", "clock"),
        "other": (
            certificate(86, "path length"),
            Cause.TLS,
            False,
            "no TLS connection to .*: path length",
            "KFP_CA_CERT",
        ),
        "no TLS": (tls("WRONG_VERSION_NUMBER"), Cause.TLS, False, "does not speak TLS", "http://"),
        "odd": (requests.exceptions.InvalidURL("x"), Cause.ADDRESS, False, "InvalidURL", "KFP_API_URL"),
    }


@pytest.mark.parametrize("case", cases())
def test_each_cause_has_its_words_and_its_way_out(case: str) -> None:
    error, cause, sent, message, hint = cases()[case]

    found = explain(error, URL, None)

    with pytest.raises(UnreachableError, match=message):
        raise found
    assert (found.cause, found.sent, found.status) == (cause, sent, 5)
    assert hint in found.hint
    assert "s3cret" not in f"{found.message} {found.hint}"


def test_a_ca_that_is_another_is_named() -> None:
    found = explain(certificate(19), URL, Path("/somewhere/old-ca.crt"))

    assert "/somewhere/old-ca.crt (KFP_CA_CERT) is not its CA" in found.hint


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("https://127.0.0.1:8443/pipeline", "its own host name only"),
        ("http://kubeflow.corp.test/pipeline", "must begin with https://"),
        ("https://kubeflow.corp.test/pipeline", "give the same command again"),
    ],
)
def test_a_cut_connection_is_explained_by_the_address(url: str, hint: str) -> None:
    assert hint in explain(requests.ConnectionError("reset"), url, None).hint


def test_a_name_that_is_nobodys_example_gets_no_hosts_line() -> None:
    error = not_connected(socket.gaierror(-2, "unknown"))

    assert "/etc/hosts" not in explain(error, "https://kubeflow.corp.test/pipeline", None).hint


def test_the_transport_translates() -> None:
    def answer(asked: object) -> Reply:
        raise requests.ConnectionError("reset")

    with pytest.raises(UnreachableError, match="closed the connection"):
        Fake(answer).connect().send("GET", URL)
