"""What all tests share: the guard of the unit tests, a home of their own, and projects made of small components."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Project

TESTS = Path(__file__).parent
UNIT = TESTS / "unit"
ENGINES = frozenset({"docker", "dockerd", "podman", "nerdctl", "buildah", "kubectl", "k3d", "kind", "minikube"})
OURS = [
    "CACHE_DIR",
    "COMPONENTS_DIR",
    "OUTPUT_DIR",
    "KFP_API_URL",
    "KFP_TOKEN",
    "DEX_USERNAME",
    "DEX_PASSWORD",
    "REGISTRY",
    "REGISTRY_NAMESPACE",
    "REGISTER_USERNAME",
    "REGISTER_PASSWORD",
    "BASE_IMAGE",
    "MEDIA_TRANSPORT",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "KFP_TOKEN_FILE",
    "KFP_CA_CERT",
    "KFP_SKIP_TLS_VERIFY",
    "DEX_AUTH_TYPE",
    "KUBE_NAMESPACE",
    "KUBE_CONTEXT",
    "RUN_TIMEOUT",
    "STORAGE_CLASS",
    "STORAGE_SIZE",
    "ACCESS_MODE",
    "IMAGE_LOAD_COMMAND",
    "IMAGE_PULL_SECRET",
    "IMAGE_PLATFORM",
    "BUILD_JOBS",
    "BUILD_ARGS",
]
"""What a user may have set for real runs, and what would lead Pythons astray."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        default=bool(os.environ.get("AUTOPIPE_FULL")),
        help="run the counts that the project promises (50 kills, 2,000 failures, 1 GB, ...), not a few of each",
    )
    parser.addoption(
        "--integration", action="store_true", help="run the tests on Git LFS, a Docker engine and registries too"
    )
    parser.addoption("--cluster", action="store_true", help="run the tests on Kubernetes and Kubeflow too")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what needs a service, unless it was asked for: then a missing service is a failure."""
    folder, name = collection_path.parent, collection_path.name
    if folder == TESTS / "cluster" and not config.getoption("--cluster"):
        return True
    needs_service = (
        folder == TESTS / "integration" and name.startswith("test_") and not name.startswith("test_process_")
    )
    return True if needs_service and not config.getoption("--integration") else None


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the long counts were asked for."""
    return bool(request.config.getoption("--full"))


# --- The guard: a unit test that reaches for the network or for an engine fails, whoever swallows the error ---


class Guard:
    """Refuses connections and engines while it is on; what it refused is kept for the test's report."""

    def __init__(self) -> None:
        self.on = False
        self.refused: list[str] = []

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        what = ""
        if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
            what = f"{event} {args[1:] if event in ('socket.connect', 'socket.sendto') else args[:1]}"
        elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
            words = args[1] if event == "subprocess.Popen" and not isinstance(args[1], str | bytes) else [args[0]]
            program = Path(os.fsdecode(words[0])).name if words else ""
            what = f"start of {program}" if program in ENGINES else ""
        if what:
            self.refused.append(what)
            pytest.fail(f"a unit test must not reach outside: {what}", pytrace=True)


guard = Guard()
sys.addaudithook(guard.audit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    guard.on, guard.refused = item.path.is_relative_to(UNIT), []
    try:
        return (yield)
    finally:
        guard.on = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    # Off again before the teardown: after the last test it ends what tests of other folders share.
    guard.on = item.path.is_relative_to(UNIT)
    try:
        result = yield
    finally:
        guard.on = False
    if guard.refused:  # the refusal was swallowed, or raised in another thread
        pytest.fail(f"a unit test must not reach outside: {', '.join(guard.refused)}", pytrace=False)
    return result


@pytest.fixture(scope="session", autouse=True)
def own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give all tests a home, a cache and settings of their own; no installer of theirs asks an index.

    What started the tests in the background (nohup, &) may ignore signals, and so would all that they start.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    home, real = tmp_path_factory.mktemp("home"), Path.home()
    with pytest.MonkeyPatch.context() as patch:
        if "PYENV_ROOT" not in os.environ and (real / ".pyenv").is_dir():
            patch.setenv("PYENV_ROOT", str(real / ".pyenv"))
        if "KUBECONFIG" not in os.environ and (real / ".kube" / "config").is_file():
            patch.setenv("KUBECONFIG", str(real / ".kube" / "config"))
        for name in OURS:
            patch.delenv(name, raising=False)
        for name in [name for name in os.environ if name.startswith(("UV_", "PIP_", "XDG_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("UV_OFFLINE", "1")
        yield


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project below tmp_path, in which the test writes components and a DAG file, and runs it."""
    return Project(tmp_path / "project")
