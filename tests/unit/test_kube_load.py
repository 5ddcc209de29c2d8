"""Which clusters get their images loaded, and which images."""

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.errors import ImageError
from src.kube.load import context_name, images_there, load_command, load_images, loads_images
from src.kube.refusal import ApiError
from src.settings import Settings


class FakeCluster:
    """Answers for the nodes."""

    api_server = SimpleNamespace(host="https://127.0.0.1:6443")

    def __init__(self, *nodes: list[str], forbidden: bool = False) -> None:
        self.nodes = nodes
        self.forbidden = forbidden

    def ask(self, method: str, path: str, doing: str) -> dict[str, Any]:
        assert (method, path) == ("GET", "/api/v1/nodes")
        if self.forbidden:
            raise ApiError("no", code=403)
        return {"items": [{"status": {"images": [{"names": names}]}} for names in self.nodes]}


def settings_of(folder: Path, **values: Any) -> Settings:
    return Settings(cache_dir=folder / "cache", **values)


def loader(folder: Path, status: int = 0) -> tuple[str, Path]:
    """A program that writes down what it was asked to load."""
    log, program = folder / "loaded", folder / "load it"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {log}\necho progress\necho trouble >&2\nexit {status}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"'{program}' --quickly", log


@pytest.mark.parametrize(
    ("context", "command"),
    [
        ("k3d-deploykf", ["k3d", "image", "import", "--cluster", "deploykf"]),
        ("kind-kind", ["kind", "load", "docker-image", "--name", "kind"]),
        ("minikube", ["minikube", "image", "load"]),
        ("gke_project_zone_name", None),
        ("my-k3d-like", None),
        (None, None),
    ],
)
def test_clusters_on_this_machine_are_known_by_their_context(
    tmp_path: Path, context: str | None, command: list[str] | None
) -> None:
    assert load_command(context, settings_of(tmp_path)) == command


def test_a_command_of_the_users_wins(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, image_load_command="ssh node 'load it'")
    assert load_command("k3d-x", settings) == ["ssh", "node", "load it"]
    assert loads_images(settings)


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\ncurrent-context: k3d-x\nclusters: []\n",
        'current-context: "k3d-x"\n',
        "current-context: 'k3d-x' # mine\n",
        '{"apiVersion": "v1",\n  "current-context": "k3d-x",\n "clusters": []}',
        "# current-context: other\ncurrent-context: k3d-x",
    ],
)
def test_the_context_is_read_from_a_kubeconfig(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    assert context_name(settings_of(tmp_path, kubeconfig=str(tmp_path / "config"))) == "k3d-x"


def test_of_several_files_the_first_that_says_a_context_wins(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("clusters: []\ncurrent-context: ''\n")
    (tmp_path / "two").write_text("current-context: two\n")
    place = f"{tmp_path}/none:{tmp_path}/one:{tmp_path}/two"
    assert context_name(settings_of(tmp_path, kubeconfig=place)) == "two"
    assert context_name(settings_of(tmp_path, kubeconfig=place, kube_context="mine")) == "mine"
    assert context_name(settings_of(tmp_path, kubeconfig=f"{tmp_path}/none")) is None


def test_only_what_is_missing_on_a_node_is_loaded(tmp_path: Path) -> None:
    command, log = loader(tmp_path)
    settings = settings_of(tmp_path, image_load_command=command)
    images = [("docker.io/me/a:1", "sha256:a"), ("docker.io/me/b:1", "sha256:b")]

    load_images(images, FakeCluster([]), settings)  # type: ignore[arg-type]
    assert log.read_text().split() == ["--quickly", "docker.io/me/a:1", "docker.io/me/b:1"]
    log.unlink()
    everywhere, nowhere = ["docker.io/me/a:1", "me/b:1"], ["docker.io/me/a:1"]
    load_images(images, FakeCluster(everywhere), settings)  # type: ignore[arg-type]
    load_images(images, FakeCluster(forbidden=True), settings)  # type: ignore[arg-type]
    assert not log.exists()
    load_images(images, FakeCluster(everywhere, nowhere), settings)  # type: ignore[arg-type]
    assert log.read_text().split() == ["--quickly", "docker.io/me/b:1"]


def test_an_image_that_was_built_again_under_its_name_is_loaded_again(tmp_path: Path) -> None:
    command, log = loader(tmp_path)
    settings = settings_of(tmp_path, image_load_command=command)
    cluster: Any = FakeCluster(["me/a:1"])
    load_images([("me/a:1", "sha256:old")], cluster, settings)
    log.unlink()
    load_images([("me/a:1", "sha256:new")], cluster, settings)
    assert log.read_text().split() == ["--quickly", "me/a:1"]
    memory = json.loads((settings.cache_dir / "loaded.json").read_bytes())
    assert memory == {f"{cluster.api_server.host} me/a:1": "sha256:new"}


def test_a_loader_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    command, _ = loader(tmp_path, status=3)
    settings = settings_of(tmp_path, image_load_command=command)
    with pytest.raises(ImageError, match="could not load") as caught:
        load_images([("me/a:1", "sha256:a")], FakeCluster([]), settings)  # type: ignore[arg-type]
    assert caught.value.details == ("progress", "trouble")
    assert not (settings.cache_dir / "loaded.json").exists()


def test_a_loader_that_is_not_there_is_told(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, image_load_command="/no/such/program")
    with pytest.raises(ImageError, match=r"/no/such/program: No such file") as caught:
        load_images([("me/a:1", "sha256:a")], FakeCluster([]), settings)  # type: ignore[arg-type]
    assert "IMAGE_LOAD_COMMAND" in caught.value.hint


def test_nodes_that_nobody_may_look_at_are_unknown() -> None:
    assert images_there(FakeCluster(forbidden=True)) is None  # type: ignore[arg-type]
    assert images_there(FakeCluster(["docker.io/library/a:1"], ["a:1", "b:1"])) == {"a:1"}  # type: ignore[arg-type]
