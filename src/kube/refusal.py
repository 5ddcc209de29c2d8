"""What the Kubernetes API server refuses, and the words for it; pure.

A refusal is a Status object of the API: {kind: Status, code, reason, message, details}.
"""

import json
import re

from src.errors import RunError
from src.step import Record

PASSING = frozenset({429, 500, 502, 503, 504})
"""Statuses that another attempt may not meet."""


class ApiError(RunError):
    """The API server refused; code is the HTTP status, reason its word for it (AlreadyExists, Forbidden, …)."""

    def __init__(self, message: str, *, code: int, reason: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.reason = reason


def read_status(text: str) -> Record:
    """Return the Status object that a text is, or an empty one: gateways on the way answer in HTML."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) and document.get("kind") == "Status" else {}


def explain_refusal(code: int, text: str, doing: str, namespace: str) -> ApiError:
    """Make the error for an answer; doing says what was tried, such as "create the claim x"."""
    status = read_status(text)
    message, reason = str(status.get("message") or ""), str(status.get("reason") or "")
    why, hint = _explain(code, message, namespace)
    return ApiError(f"cannot {doing}: {why}", code=code, reason=reason, hint=hint)


def _explain(code: int, message: str, namespace: str) -> tuple[str, str]:
    if code == 401:
        return (
            "the cluster does not know us",
            "log in to the cluster again, then try `kubectl get pods`; KUBECONFIG and KUBE_CONTEXT say which is used",
        )
    if code == 403:
        return _explain_forbidden(message, namespace)
    if code == 404 and "namespaces" in message:
        return f"there is no namespace {namespace}", "set KUBE_NAMESPACE to your profile's namespace"
    if code == 404:
        return first_line(message) or "it is not there", "was it deleted? Give the same command again"
    if code == 422:
        return first_line(message), "correct the setting or option that is named"
    if code in PASSING:
        return f"the API server is not well ({code}): {first_line(message)}", "give the same command again"
    if not message:
        return f"something that is no API server answered ({code})", "is KUBECONFIG right? Is a login needed first?"
    return first_line(message), "see what the message names"


def _explain_forbidden(message: str, namespace: str) -> tuple[str, str]:
    quota = re.search(r"exceeded quota: (\S+?), requested: (\S+?), used: (\S+?), limited: (\S+)", message)
    if quota:
        amounts = f"asked for {quota[2]}, used {quota[3]}, limit {quota[4]}"
        return (
            f"the quota {quota[1]} of namespace {namespace} is used up ({amounts})",
            "delete what is not needed there (`--clean` removes what runs left); lower STORAGE_SIZE, `cpu`, `memory`",
        )
    if "must specify" in message and "quota" in message:
        return first_line(message), "give the components the options `cpu` and `memory`"
    if "violates PodSecurity" in message:
        return (
            f"namespace {namespace} enforces Pod Security: {message.partition('violates PodSecurity')[2].strip()}",
            "ask for another namespace, or for an exemption of the pods of Kubeflow Pipelines",
        )
    if "is being terminated" in message:
        return f"namespace {namespace} is being deleted", "set KUBE_NAMESPACE to another namespace"
    limit = re.search(r"(maximum|minimum) \S+ usage per (?:Container|Pod|PersistentVolumeClaim) is [^.,]+", message)
    if limit:
        return (
            f"a limit of namespace {namespace}: {limit[0]}",
            "correct STORAGE_SIZE, or the options `cpu` and `memory`",
        )
    right = re.search(r'cannot (\S+) resource "(\S+?)"', message)
    if right:
        return (
            f"no right to {right[1]} {right[2]} in namespace {namespace}",
            f"ask its administrator for `{right[1]}` on `{right[2]}`, or set KUBE_NAMESPACE to your own namespace",
        )
    return first_line(message) or "forbidden", f"ask the administrator of namespace {namespace}"


def first_line(text: str) -> str:
    """Return the first line of a text, shortened to what a message can hold."""
    line = text.strip().split("\n")[0]
    return line if len(line) <= 300 else f"{line[:299]}…"
