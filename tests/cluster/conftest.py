"""Servers and projects for the tests on the cluster; after each test nothing of it is left there."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.project import ClusterProject, kube, left_of
from tests.cluster.standin import StandIn, stand_in

FLAVOURS = {"2.17": "", "2.16": "_19", "2.1": "_21"}


SETTINGS = [
    "KFP_API_URL",
    "KFP_CA_CERT",
    "KFP_TOKEN",
    "DEX_USERNAME",
    "DEX_PASSWORD",
    "KUBECONFIG",
    "KUBE_NAMESPACE",
    "KUBE_CONTEXT",
    "DOCKER_HOST",
    "REGISTRY",
    "REGISTRY_NAMESPACE",
    "BASE_IMAGE",
    "STORAGE_CLASS",
    "STORAGE_SIZE",
    "ACCESS_MODE",
    "IMAGE_LOAD_COMMAND",
    "RUN_TIMEOUT",
]

MakeProject = Callable[..., ClusterProject]


@pytest.fixture(params=FLAVOURS.values(), ids=list(FLAVOURS))
def each_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StandIn]:
    """Each flavour of the server in turn, without faults."""
    with stand_in(request.param, tmp_path) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    """The server of today, without faults."""
    with stand_in("", tmp_path) as server:
        yield server


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """See to it that a test leaves nothing of ours in the namespace."""
    yield
    assert left_of(tmp_path, kube()) == []


@pytest.fixture
def make_project(tmp_path: Path, nothing_left: None, monkeypatch: pytest.MonkeyPatch) -> MakeProject:
    """Make projects, each with media of its own content: what one has stored is of no use to another."""
    numbers = itertools.count()

    def make(server: StandIn, **settings: str) -> ClusterProject:
        for name in SETTINGS:
            monkeypatch.delenv(name, raising=False)  # the environment's would win over the project's
        project = ClusterProject(tmp_path / f"project{next(numbers)}", server, **settings)
        project.media(f"media of {project.folder}\n", "clip.txt")
        return project

    return make
