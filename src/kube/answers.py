"""What an answer of the server means: a document, a refusal, a request to log in, or an outage; pure.

Source: recorded answers of Kubeflow Pipelines 2.1.0 and 2.17.0, whose errors are google.rpc.Status as JSON.
"""

import re
from http import HTTPStatus
from typing import Any

from src.errors import RunError
from src.kube.pages import read_page
from src.kube.transport import Answer

HEAD, TAIL = 80, 220  # characters of a server's words; what is at fault stands at their end
_PASSING = frozenset({408, 425, 429})
_FINAL = frozenset({404, 405, 413, 414})  # of a gateway, or of KFP 2.1, whose 404 and 405 are plain text
_RIGHT = re.compile(
    r"User '([^']*)' is not authorized.*?Namespace:([^,]*),Verb:([^,]*),.*?Resource:([^,]*),", re.DOTALL
)


class OutageError(RunError):
    """The server, or a gateway before it, cannot answer now.

    own: Kubeflow Pipelines itself answers 500, which it also does where the request is at fault.
    """

    def __init__(self, message: str, *, own: bool) -> None:
        reason = "the log of the server (ml-pipeline) may say more" if own else "the server is not well"
        super().__init__(message, hint=f"{reason}; the same command goes on from here")
        self.own = own


class RefusedError(RunError):
    """Kubeflow Pipelines refuses a request; status is HTTP's."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.http_status = status


class NotFoundError(RefusedError):
    """What was asked for is not there (404)."""


class ExistsError(RefusedError):
    """The name is taken (409)."""


class NoRightsError(RefusedError):
    """The user may not do this in this namespace, or there is no such namespace: the server tells no difference."""


def is_foreign(answer: Answer) -> bool:
    """Say whether the answer is not of Kubeflow Pipelines: a login or a gateway stands before it."""
    if answer.status == 401 or 300 <= answer.status < 400:
        return True
    if answer.status >= 500 or answer.status in _PASSING | _FINAL:
        return False
    document = answer.document()
    return document is None or (answer.status == 403 and "code" not in document)


def check_outage(answer: Answer, host: str) -> None:
    """Raise OutageError when the answer says that another try may go well."""
    document = answer.document()
    own = document is not None and "code" in document and answer.status == 500
    if answer.status >= 500 and answer.status != 501:
        raise OutageError(f"{host} answers {answer.status}: {words(answer)}", own=own)
    if answer.status in _PASSING:
        raise OutageError(f"{host} answers {answer.status}: {words(answer)}", own=False)


def read_answer(answer: Answer, host: str) -> dict[str, Any]:
    """Return the document of an answer that is not foreign; raises OutageError or RefusedError for any other."""
    document = answer.document()
    if answer.status < 300 and document is not None:
        return document
    said = words(answer)
    if answer.status == 413 or "request is too large" in said or "Too long: may not be" in said:
        raise RefusedError(
            f"the pipeline is too big for {host}: {said}",
            status=answer.status,
            hint="lower `shards:`, or split the DAG",
        )
    check_outage(answer, host)
    if answer.status == 403:
        raise _no_rights(_first_line(answer), answer.status)
    if answer.status == 404 and (document is None or said == "Not Found"):
        raise NotFoundError(
            f"there is no Kubeflow Pipelines API below KFP_API_URL ({host} answers 404)",
            status=404,
            hint="KFP_API_URL is the address of the pipelines UI; on most servers it ends in /pipeline",
        )
    kind = {404: NotFoundError, 409: ExistsError}.get(answer.status, RefusedError)
    raise kind(f"{host} refuses: {said}", status=answer.status)


def words(answer: Answer) -> str:
    """Return what an answer says, in one line that is not too long: no stack trace, no HTML."""
    first = _first_line(answer) or _phrase(answer.status)
    return first if len(first) <= HEAD + TAIL else f"{first[:HEAD]} … {first[-TAIL:]}"


def _first_line(answer: Answer) -> str:
    document = answer.document()
    if document is not None:
        text = str(document.get("message") or document.get("error") or "")
    elif answer.is_html or answer.text.lstrip().startswith("<"):
        page = read_page(answer.text)
        text = page.text or page.title
    else:
        text = answer.text
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "no reason given"


def _no_rights(said: str, status: int) -> NoRightsError:
    match = _RIGHT.search(said)
    message = f"no rights: {said[-TAIL:]}"
    if match:
        user, namespace, verb, resource = match.groups()
        message = f"{user} may not {verb} {resource} in the namespace {namespace}, or there is no such namespace"
    return NoRightsError(
        message,
        status=status,
        hint="set KUBE_NAMESPACE to a namespace (profile) of this user: the dashboard shows them at its top",
    )
