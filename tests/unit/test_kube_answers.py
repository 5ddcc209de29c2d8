"""What answers mean; the bodies are those that Kubeflow Pipelines 2.1.0 and 2.17.0 were recorded with."""

import json

import pytest

from src.kube.answers import (
    ExistsError,
    NoRightsError,
    NotFoundError,
    OutageError,
    RefusedError,
    is_foreign,
    read_answer,
    words,
)
from src.kube.transport import Answer

DENIED = (
    "List experiments failed: Failed to authorize with API: Failed to authorize with API: PermissionDenied: "
    "User 'user1@example.com' is not authorized with reason:  (request: &ResourceAttributes{Namespace:team-2,Verb:list,"
    "Group:pipelines.kubeflow.org,Version:v1beta1,Resource:experiments,Subresource:,Name:,FieldSelector:nil,"
    "LabelSelector:nil,}): Unauthorized access"
)
TRACE = (
    'Internal error: error processing component name="root": cannot find component ref name="comp-a"\n'
    "Failed to compile job\ngithub.com/kubeflow/pipelines/backend/src/common/util.Wrap\n\tgithub.com/kubeflow/x.go:361"
)


def said(status: int, text: str, *, html: bool = False) -> Answer:
    return Answer(status=status, url="https://h/pipeline/apis/v2beta1/x", text=text, is_html=html)


def status(code: int, number: int, message: str) -> Answer:
    return said(number, json.dumps({"error": message, "code": code, "message": message, "details": []}))


@pytest.mark.parametrize(
    ("answer", "foreign"),
    [
        (said(200, '{"runs": []}'), False),
        (said(200, "{}"), False),
        (said(200, "<!DOCTYPE html><html>", html=True), True),
        (said(200, "[]"), True),
        (said(200, ""), True),
        (said(302, ""), True),
        (said(401, "{}"), True),
        (status(16, 401, "no user identity header"), True),
        (said(403, "RBAC: access denied"), True),
        (said(403, "{}"), True),
        (status(7, 403, DENIED), False),
        (said(404, "Not Found\n"), False),
        (status(5, 404, "Run x not found"), False),
        (said(503, "no healthy upstream"), False),
        (said(429, "slow down"), False),
    ],
)
def test_who_answers_is_known(answer: Answer, foreign: bool) -> None:
    assert is_foreign(answer) is foreign


def test_a_document_is_returned() -> None:
    assert read_answer(said(200, '{"run_id": "r"}'), "h") == {"run_id": "r"}


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (said(503, "no healthy upstream"), OutageError, "h answers 503: no healthy upstream"),
        (said(502, "<html><title>502 Bad Gateway</title></html>", html=True), OutageError, "h answers 502: 502 Bad"),
        (said(429, ""), OutageError, "h answers 429: Too Many Requests"),
        (status(14, 503, "upstream"), OutageError, "h answers 503: upstream"),
        (status(13, 500, TRACE), OutageError, 'ref name="comp-a"$'),
        (status(12, 501, "Method Not Allowed"), RefusedError, "h refuses: Method Not Allowed"),
        (status(3, 400, "A run cannot have an empty namespace"), RefusedError, "h refuses: A run cannot"),
        (status(5, 404, "Failed to get a run: Run 0-0 not found"), NotFoundError, "Run 0-0 not found"),
        (said(404, "Not Found\n"), NotFoundError, "no Kubeflow Pipelines API below KFP_API_URL"),
        (status(5, 404, "Not Found"), NotFoundError, "no Kubeflow Pipelines API below KFP_API_URL"),
        (status(6, 409, "The name demo already exists"), ExistsError, "already exists"),
        (
            status(7, 403, DENIED),
            NoRightsError,
            "^user1@example.com may not list experiments in the namespace team-2, or there is no such namespace$",
        ),
        (status(7, 403, "something new"), NoRightsError, "no rights: something new"),
        (status(13, 500, "x: etcdserver: request is too large"), RefusedError, "the pipeline is too big for h"),
        (
            status(13, 500, "metadata.annotations: Too long: may not be more than 262144 bytes"),
            RefusedError,
            "the pipeline is too big",
        ),
        (said(413, "<html>Request Entity Too Large</html>", html=True), RefusedError, "the pipeline is too big"),
    ],
)
def test_each_refusal_has_its_error(answer: Answer, kind: type[RefusedError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        read_answer(answer, "h")

    assert type(caught.value) is kind
    assert "\n" not in caught.value.message
    assert caught.value.status == 5


def test_only_the_servers_own_500_may_be_the_users_mistake() -> None:
    def own(answer: Answer) -> bool:
        with pytest.raises(OutageError) as caught:
            read_answer(answer, "h")
        return caught.value.own

    assert own(status(13, 500, "Failed to validate workflow"))
    assert not own(status(14, 503, "unavailable"))
    assert not own(said(500, "upstream"))


def test_words_are_one_short_line() -> None:
    assert words(said(400, json.dumps({"message": TRACE}))) == TRACE.split("\n")[0]
    long = words(said(400, json.dumps({"message": "Failed to create: " + "x" * 5000 + ": too long"})))
    assert long.startswith("Failed to create: ")
    assert long.endswith(": too long")
    assert len(long) < 310
    assert (
        words(said(403, "<html><body><h1>403 Forbidden</h1>\nLogin Failed</body></html>"))
        == "403 Forbidden Login Failed"
    )
    assert words(said(599, "")) == "no reason given"


def test_an_answer_does_not_show_what_is_in_it() -> None:
    answer = Answer(status=302, url="https://h/cb?code=s3cret", target="https://h/?code=s3cret", text="s3cret")

    assert "s3cret" not in repr(answer)
