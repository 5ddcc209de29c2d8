"""Projects that run on any local target, and what their containers leave in the engine.

All components of a project have the same content, a shell script that does what the option `env` says: so one image
serves them all, and on every target the same is run.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest

from src.image.usage import BUILDER, builder_of
from src.settings import load_settings
from tests.support import Project

BASE = "autopipe-base:bookworm"
ALL = ["docker", "process"]


class TargetProject(Project):
    """A project for one target."""

    def __init__(self, folder: Path, target: str) -> None:
        super().__init__(folder)
        self.target = target
        self.scripts: dict[str, str] = {}
        (folder / "empty.env").write_text(f"BASE_IMAGE={BASE}\n")

    def component(self, name: str, script: str = 'cp "$in" "$out"', files: Mapping[str, str] | None = None) -> Path:
        """Say what a component does; $in and $out are its arguments, $@ what `args` adds."""
        self.scripts[name] = script
        return super().component(name, 'eval "$SCRIPT"', files)

    def write(
        self,
        components: Sequence[str],
        edges: Sequence[Sequence[Any]] = (),
        *,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        media: Any = "media",
        name: str = "app",
        file: Path | None = None,
    ) -> Path:
        """Write the DAG file."""
        chosen = {component: dict((options or {}).get(component, {})) for component in components}
        for component, script in self.scripts.items():
            if component in chosen:
                chosen[component]["env"] = {**chosen[component].get("env", {}), "SCRIPT": script}
        return super().write(components, edges, options=chosen, media=media, name=name, file=file)

    def arguments(self, *more: str, file: Path | None = None) -> list[str]:
        """Return the arguments of a run of this project."""
        words = super().arguments(*more, file=file)
        words[words.index("--target") + 1] = self.target
        return words


def open_client() -> "docker.DockerClient":
    """Return a client of the engine that the environment names."""
    return docker.from_env(timeout=120)


def ours(client: "docker.DockerClient", below: Path) -> list[dict[str, Any]]:
    """Return the containers of runs below a folder, in whatever state."""
    found = client.api.containers(all=True, filters={"label": "autopipe.run"})
    return [one for one in found if one["Labels"]["autopipe.folder"].startswith(str(below))]


@contextlib.contextmanager
def users_own(client: "docker.DockerClient", *, running: bool = True) -> Iterator[None]:
    """Have containers of the user's in the engine; assert that they are as they were at the end."""
    own = {
        "plain": client.containers.create(BASE, ["true"]),
        "ended": client.containers.run(BASE, ["true"], detach=True, labels={"run": "x", "autopipe": "mine"}),
    }
    if running:
        own["running"] = client.containers.run(BASE, ["sleep", "3600"], detach=True, labels={"autopipe": "mine"})
    try:
        own["ended"].wait()
        before = {name: _facts(container) for name, container in own.items()}
        yield
        assert {name: _facts(container) for name, container in own.items()} == before
    finally:
        for container in own.values():
            container.remove(force=True)


def _facts(container: Any) -> str:
    container.reload()
    return json.dumps([container.id, container.name, container.status, container.attrs["State"]["StartedAt"]])


@pytest.fixture(scope="session")
def client() -> Iterator["docker.DockerClient"]:
    """A client of the engine; the images that were made from the tests' cache are removed at the end."""
    settings = load_settings(None, os.environ)
    with contextlib.closing(open_client()) as client:
        yield client
        for image in client.api.images(filters={"label": f"{BUILDER}={builder_of(settings)}"}):
            with contextlib.suppress(docker.errors.ImageNotFound):  # it went with another that was made from it
                client.api.remove_image(image["Id"], force=True)


@pytest.fixture(params=ALL)
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TargetProject]:
    """A project on each target in turn; whatever happens, no container of it is left."""
    if request.param == "docker":
        client = request.getfixturevalue("client")
        yield from _watched(TargetProject(tmp_path / "my project.d", "docker"), client)
    else:
        yield TargetProject(tmp_path / "my project.d", request.param)


@pytest.fixture
def docked(client: "docker.DockerClient", tmp_path: Path) -> Iterator[TargetProject]:
    """A project on the docker target; whatever happens, no container of it is left."""
    yield from _watched(TargetProject(tmp_path / "my project.d", "docker"), client)


def _watched(project: TargetProject, client: "docker.DockerClient") -> Iterator[TargetProject]:
    yield project
    left = ours(client, project.folder)
    for one in left:
        client.api.remove_container(one["Id"], force=True, v=True)
    assert [one["Names"] for one in left] == []
