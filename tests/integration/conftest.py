"""Fixtures of the integration tests."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engines import Lines, docker, label
from tests.integration.git_hosts import GitHost, Site, Upstream, run_host


@pytest.fixture(scope="session")
def git_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    """A Git and Git LFS server."""
    with run_host(tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture
def clean_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let git know nothing of this machine's configuration; return the file that stands for the user's."""
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = Test\n\temail = test@localhost\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    for name in ("GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS", "GIT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    return config


@pytest.fixture
def upstream(git_host: GitHost, clean_git: Path, tmp_path: Path) -> Upstream:
    """A new repository."""
    return git_host.create(tmp_path / "upstream")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A user's folders."""
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder=folder)


@pytest.fixture(scope="session", autouse=True)
def no_images_left(own_surroundings: None) -> Iterator[None]:
    """Remove the images that the tests made, known by the session's cache."""
    yield
    host = os.environ.get("DOCKER_HOST")
    images = docker(host, "images", "--quiet", "--filter", f"label={label()}", check=False).split() if host else []
    if images and host:
        docker(host, "rmi", "--force", *set(images), check=False)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What the program tells during the test."""
    log, handler = logging.getLogger("autopipe"), Lines()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)
