"""Why no whole answer came from the API server, found in what urllib3 raised, and the words for it."""

from src.errors import RunError


class CutError(RunError):
    """No whole answer came from the API server, or one that another attempt may not meet."""


def unreachable(error: Exception, host: str) -> CutError:
    """Make the error for an exception of urllib3 on the way to the API server."""
    import urllib3

    text = str(getattr(error, "reason", None) or error)
    if isinstance(error, urllib3.exceptions.SSLError) and "CERTIFICATE" in text.upper():
        return CutError(
            f"the certificate of the API server {host} is not to be trusted: {_last_words(text)}",
            hint="fetch the cluster's kubeconfig again: it names the CA",
        )
    if isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
        return CutError(
            f"the API server {host} cannot be reached: {_last_words(text)}",
            hint="is the cluster up, and a VPN needed? `kubectl get pods` must work; KUBE_CONTEXT says which is used",
        )
    return CutError(
        f"the connection to the API server {host} was lost: {_last_words(text)}", hint="give the same command again"
    )


def _last_words(text: str) -> str:
    return text.rpartition(": ")[2].strip("'\")( ") or "no reason given"
