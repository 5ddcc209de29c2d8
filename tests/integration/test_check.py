"""`--check`: what engine and registry answer, a hint for what would not work, and the right status."""

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.engines import BASE, need
from tests.support import Outcome, Project, run_main, tree

REGISTRY, AUTH_REGISTRY = "AUTOPIPE_REGISTRY", "AUTOPIPE_AUTH_REGISTRY"


def check(folder: Path, settings: Mapping[str, str], *more: str) -> Outcome:
    env_file = folder / "env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in {"BASE_IMAGE": BASE, **settings}.items()))
    return run_main(["--check", "--env-file", str(env_file), *(more or ("--target", "docker"))])


def lines(outcome: Outcome) -> dict[str, str]:
    """Return the word of each subject."""
    found = [line.split(None, 1) for line in outcome.out.splitlines() if not line.startswith(" ")]
    return {rest.partition(":")[0]: word for word, rest in found}


def test_what_is_there_is_told(tmp_path: Path) -> None:
    settings = {"REGISTRY": need(AUTH_REGISTRY), "REGISTER_USERNAME": "user", "REGISTER_PASSWORD": "password"}
    outcome = check(tmp_path, settings)
    assert (outcome.status, outcome.err) == (0, "")
    assert lines(outcome) == dict.fromkeys(["target", "engine", "room", "base image", "registry", "push"], "ok")
    assert f"registry: {need(AUTH_REGISTRY)}, logged in as user (REGISTER_USERNAME)" in outcome.out
    assert f"push: allowed to {need(AUTH_REGISTRY)}/user/save-media" in outcome.out
    assert f"base image: {BASE}, in the engine" in outcome.out
    assert " Gi free for images in " in outcome.out
    assert "password" not in outcome.out


def test_a_check_leaves_nothing(project: Project) -> None:
    project.media()
    project.component("only-checked")
    project.write(["only-checked"])
    before = tree(project.folder)
    settings = {"REGISTRY": need(REGISTRY), "REGISTRY_NAMESPACE": "checked"}
    outcome = check(project.folder.parent, settings, "--target", "docker", "-i", str(project.file))
    assert outcome.status == 0, outcome.err
    assert "checked/save-media and 1 more" in outcome.out
    assert tree(project.folder) == before
    with urllib.request.urlopen(f"http://{need(REGISTRY)}/v2/_catalog?n=1000") as answer:
        assert [name for name in json.load(answer)["repositories"] if name.startswith("checked/")] == []


@pytest.mark.parametrize(
    ("settings", "subject", "text", "hint"),
    [
        (
            {"REGISTRY": AUTH_REGISTRY, "REGISTER_USERNAME": "user", "REGISTER_PASSWORD": "wrong"},
            "registry",
            "refuses the login of user",
            "correct REGISTER_USERNAME and REGISTER_PASSWORD",
        ),
        ({"REGISTRY": AUTH_REGISTRY, "REGISTRY_NAMESPACE": "user"}, "push", "needs a login", "docker login"),
        ({"REGISTRY": "127.0.0.1:1"}, "registry", "can ask for 127.0.0.1:1/", "see whether its registry is up"),
        ({"DOCKER_HOST": "unix:///nowhere.sock"}, "engine", "no Docker engine answers", "start it"),
        ({"BASE_IMAGE": f"127.0.0.1:1/{BASE}"}, "base image", "can ask for 127.0.0.1:1/", "is up"),
        ({"BASE_IMAGE": "Not An Image"}, "base image", "is no image's name", "python:3.11-slim"),
        (
            {"DOCKER_CONTEXT": "nowhere", "DOCKER_HOST": " "},
            "engine",
            "context nowhere does not exist",
            "docker context",
        ),
    ],
)
def test_what_would_not_work_is_told_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], subject: str, text: str, hint: str
) -> None:
    settings = {name: need(value) if value == AUTH_REGISTRY else value for name, value in settings.items()}
    if {"DOCKER_HOST", "DOCKER_CONTEXT"} & set(settings):
        monkeypatch.delenv("DOCKER_HOST", raising=False)
    outcome = check(tmp_path, settings)
    assert outcome.status == 4, outcome.err
    assert lines(outcome)[subject] == "FAILS"
    assert outcome.err.startswith(f"error: {subject}: ")
    assert text in outcome.errors[0]
    assert outcome.errors[-1].startswith("hint: ")
    assert hint in outcome.errors[-1]
    assert "Traceback" not in outcome.err


def test_all_that_fails_is_told_and_the_first_gives_the_status(tmp_path: Path) -> None:
    settings = {"BASE_IMAGE": "Not An Image", "REGISTRY": "127.0.0.1:1"}
    outcome = check(tmp_path, settings)
    assert outcome.status == 4
    assert [subject for subject, word in lines(outcome).items() if word == "FAILS"] == ["base image", "registry"]
    assert "and 1 more: see above" in outcome.err


def test_an_engine_on_another_machine_fails_for_this_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    outcome = check(tmp_path, {"DOCKER_HOST": "ssh://192.0.2.1"})
    assert outcome.status == 2
    assert lines(outcome)["engine"] == "FAILS"
    assert "is on another machine" in outcome.errors[0]


def test_without_a_dag_file_nothing_else_is_done() -> None:
    assert run_main([]).status == 2
