"""Why no answer came from a server, found in what requests raised, and the words for it."""

import socket
import ssl
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path
from urllib.parse import urlsplit

from src.errors import RunError

CA_COMMAND = (
    "kubectl get secret selfsigned-ca-issuer-root-cert -n cert-manager -o jsonpath='{.data.tls\\.crt}'"
    " | base64 -d > deploykf-ca.crt"
)
"""Fetches the CA of deployKF, whose certificates are self-signed unless it is told otherwise."""

PORT_FORWARD = "kubectl port-forward -n deploykf-istio-gateway svc/deploykf-gateway 8443:https"
"""Brings deployKF's gateway to this machine."""

_SELF_SIGNED = frozenset({2, 18, 19, 20, 21})  # OpenSSL's X509_V_ERR_…: the chain ends in nobody we trust
_EXPIRED = frozenset({9, 10})
_OTHER_NAME = frozenset({62, 64})


class Cause(Enum):
    """Why there was no answer."""

    NAME = auto()
    REFUSED = auto()
    TIMEOUT = auto()
    CUT = auto()
    TLS = auto()
    PROXY = auto()
    ADDRESS = auto()


class UnreachableError(RunError):
    """No whole answer came; sent says that the server may have had the request."""

    def __init__(self, message: str, *, cause: Cause, sent: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.cause = cause
        self.sent = sent


def explain(error: Exception, url: str, authority: Path | None) -> UnreachableError:
    """Make the error for an exception of requests; authority is the CA file that was used, if any."""
    import requests  # noqa: TID251  # this package is the door

    roots = tuple(_roots(error))
    host = urlsplit(url).hostname or ""
    where = urlsplit(url).netloc
    if isinstance(error, requests.exceptions.ProxyError):
        return UnreachableError(
            f"the proxy does not let us through to {where}",
            cause=Cause.PROXY,
            sent=False,
            hint=f"if no proxy leads there, add {host} to NO_PROXY; else check HTTPS_PROXY",
        )
    if isinstance(error, requests.exceptions.SSLError) and not _has(roots, ssl.SSLEOFError):
        return _explain_tls(roots, where, host, authority)
    if isinstance(error, requests.exceptions.Timeout):
        sent = not isinstance(error, requests.exceptions.ConnectTimeout)
        return UnreachableError(
            f"{where} does not answer in time",
            cause=Cause.TIMEOUT,
            sent=sent,
            hint="is the server overloaded?" if sent else f"is a VPN or a port-forward needed? {_way_there(host)}",
        )
    if _has(roots, socket.gaierror):
        return UnreachableError(f"no such host: {host}", cause=Cause.NAME, sent=False, hint=_name_hint(host))
    if _has(roots, ConnectionRefusedError) or _never_connected(roots):
        reason = next((one.strerror for one in roots if isinstance(one, OSError) and one.strerror), "no connection")
        return UnreachableError(
            f"cannot connect to {where}: {reason.lower()}", cause=Cause.REFUSED, sent=False, hint=_way_there(host)
        )
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return UnreachableError(f"{where} closed the connection", cause=Cause.CUT, sent=True, hint=_cut_hint(url, host))
    return UnreachableError(
        f"no request can be sent to {where}: {type(error).__name__}",
        cause=Cause.ADDRESS,
        sent=False,
        hint="check KFP_API_URL",
    )


def _explain_tls(roots: tuple[BaseException, ...], where: str, host: str, authority: Path | None) -> UnreachableError:
    refusal = next((one for one in roots if isinstance(one, ssl.SSLCertVerificationError)), None)
    code = refusal.verify_code if refusal else None
    text = next((getattr(one, "reason", None) for one in roots if isinstance(one, ssl.SSLError)), "") or ""
    if code in _SELF_SIGNED:
        message = f"the certificate of {where} is signed by nobody we trust"
        hint = (
            f"set KFP_CA_CERT to the file of its CA; deployKF's comes from: {CA_COMMAND}"
            if authority is None
            else f"{authority} (KFP_CA_CERT) is not its CA, perhaps of an earlier cluster; deployKF's: {CA_COMMAND}"
        )
    elif code in _OTHER_NAME:
        message = f"the certificate of {where} is for another name than {host}"
        hint = "write the name that the certificate has into KFP_API_URL"
    elif code in _EXPIRED:
        message = f"the certificate of {where} is not valid today"
        hint = "is this machine's clock right? If it is, the server's certificate must be renewed"
    elif "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text or "RECORD_LAYER" in text:
        message = f"{where} does not speak TLS"
        hint = "check the port in KFP_API_URL, or begin it with http:// if the server has no TLS"
    else:
        message = f"no TLS connection to {where}: {getattr(refusal, 'verify_message', '') or text or 'refused'}"
        hint = "check KFP_API_URL and KFP_CA_CERT"
    return UnreachableError(message, cause=Cause.TLS, sent=False, hint=hint)


def _roots(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and all that it wraps; each library hides its cause elsewhere."""
    seen: list[BaseException] = []
    left: list[object] = [error]
    while left:
        one = left.pop(0)
        if isinstance(one, BaseException) and all(one is not other for other in seen):
            seen.append(one)
            yield one
            left += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]


def _has(roots: tuple[BaseException, ...], kind: type[BaseException]) -> bool:
    return any(isinstance(one, kind) for one in roots)


def _never_connected(roots: tuple[BaseException, ...]) -> bool:
    return any(type(one).__name__ == "NewConnectionError" for one in roots)  # urllib3's: no route, no network


def _is_deploykf(host: str) -> bool:
    return "deploykf" in host or host.endswith(".example.com")


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _name_hint(host: str) -> str:
    if _is_deploykf(host):
        return f"with a cluster on this machine, /etc/hosts needs the line: 127.0.0.1 {host}"
    return "check the name in KFP_API_URL; is a VPN needed?"


def _way_there(host: str) -> str:
    if _is_deploykf(host) or _is_local(host):
        return f"check the port in KFP_API_URL; for deployKF a port-forward must be running: {PORT_FORWARD}"
    return "check host and port in KFP_API_URL"


def _cut_hint(url: str, host: str) -> str:
    if url.startswith("http:"):
        return "is it a server for https? Then KFP_API_URL must begin with https://"
    if _is_local(host):
        return "deployKF answers to its own host name only: use that in KFP_API_URL, with a line in /etc/hosts"
    return "give the same command again: it goes on from here"
