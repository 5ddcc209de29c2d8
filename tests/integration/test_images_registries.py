"""Stage 3 and registries: what is there is left alone, pushes survive what they can, and every refusal is told."""

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.errors import ImageError
from src.image import push as pushing
from tests.integration.engines import (
    BASE,
    BUSYBOX,
    Bench,
    Lines,
    Registry,
    docker,
    inspect,
    need,
    private_engine,
    private_registry,
)
from tests.integration.fake_registry import fake_registry
from tests.support import ROOT


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry of the test's own, with the base image in it."""
    with private_registry(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def base(registry: Registry) -> Iterator[str]:
    """The base image, pushed to the test's registry."""
    name, host = f"{registry.host}/base/python:1", need("DOCKER_HOST")
    docker(host, "tag", BASE, name)
    docker(host, "push", "--quiet", name)
    yield name
    docker(host, "rmi", name)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "bench")


def small(bench: Bench, name: str, content: str | bytes = "1") -> None:
    """Write a component that is built in no time."""
    bench.component(name, {"Dockerfile": f"FROM {BUSYBOX}\nCOPY data /\n", "data": content})


def count(lines: Lines, part: str) -> int:
    return len(lines.having(part))


def test_what_is_there_costs_a_look_and_nothing_else(
    bench: Bench, registry: Registry, base: str, lines: Lines, tmp_path: Path
) -> None:
    environ = {"REGISTRY": registry.host, "BASE_IMAGE": base}
    for number in range(10):
        bench.component(f"part{number}", {"data": str(number)})
    first = bench.build(environ, push=True)
    assert count(lines, ": built in") == count(lines, ": pushed to") == 11
    for name, image in first.items():
        assert image.reference == f"{registry.host}/autopipe/{name}:{image.key}"
        assert image.digest is not None
        assert image.digest.startswith(f"{registry.host}/autopipe/{name}@sha256:")
        assert image.digest in inspect(need("DOCKER_HOST"), image.reference)["RepoDigests"]
    lines.texts.clear()
    started = time.monotonic()
    again = bench.build(environ, push=True)
    assert (time.monotonic() - started) / len(again) <= 0.1
    assert {name: image.digest for name, image in again.items()} == {
        name: image.digest for name, image in first.items()
    }
    assert bench.find(environ, push=True) == again

    # Without an engine, and with a fresh one that has never seen any of it.
    assert bench.build({**environ, "DOCKER_HOST": "unix:///nowhere"}, push=True) == again
    with private_engine(Path(f"/tmp/e{os.getpid()}")) as fresh:
        elsewhere = {"DOCKER_HOST": fresh.host, "CACHE_DIR": str(tmp_path / "cache"), **environ}
        started = time.monotonic()
        assert bench.build(elsewhere, push=True) == again
        assert (time.monotonic() - started) / len(again) <= 0.1
        assert docker(fresh.host, "images", "--all", "--quiet") == ""
    assert not lines.having("building")
    assert not lines.having("pushed")

    small(bench, "part3", "changed")
    bench.build(environ, push=True)
    assert [text.partition(":")[0] for text in lines.having(": building")] == ["part3"]
    assert [text.partition(":")[0] for text in lines.having(": pushed to")] == ["part3"]


def test_an_image_that_the_engine_has_is_pushed_unbuilt(bench: Bench, registry: Registry, lines: Lines) -> None:
    small(bench, "part")
    local = bench.build()
    lines.texts.clear()
    pushed = bench.build({"REGISTRY": registry.host, "REGISTRY_NAMESPACE": "a/b"}, push=True)
    assert not lines.having("building")
    assert pushed["part"].id == local["part"].id
    assert pushed["part"].key == local["part"].key
    assert pushed["part"].reference.startswith(f"{registry.host}/a/b/part:")


def test_rebuilt_images_replace_those_of_the_registry(bench: Bench, registry: Registry) -> None:
    bench.component("part", {"Dockerfile": f"FROM {BUSYBOX}\nRUN cat /proc/sys/kernel/random/uuid > /when\n"})
    first = bench.build({"REGISTRY": registry.host}, push=True)
    second = bench.build({"REGISTRY": registry.host}, push=True, rebuild=True)
    assert first["part"].reference == second["part"].reference
    assert first["part"].digest != second["part"].digest
    assert bench.find({"REGISTRY": registry.host}, push=True)["part"].digest == second["part"].digest


# --- Logins ---


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Registry]:
    with private_registry(tmp_path / "guarded", password=True) as registry:
        yield registry


def write_config(bench: Bench, **content: object) -> Path:
    path = bench.folder / "docker" / "config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_the_shared_registry_with_its_password(bench: Bench) -> None:
    small(bench, "part", os.urandom(8))
    host, user = need("AUTOPIPE_AUTH_REGISTRY"), need("AUTOPIPE_AUTH_REGISTRY_USER")
    password = need("AUTOPIPE_AUTH_REGISTRY_PASSWORD")
    images = bench.build({"REGISTRY": host, "REGISTER_USERNAME": user, "REGISTER_PASSWORD": password}, push=True)
    assert images["part"].reference.startswith(f"{host}/{user}/part:")


def test_passwords_of_settings_and_of_docker(
    bench: Bench, guarded: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = {"REGISTRY": guarded.host, "REGISTER_USERNAME": "user", "REGISTER_PASSWORD": "pass-wörd"}
    small(bench, "a")
    first = bench.build(mine, push=True)
    assert not (bench.folder / "docker").exists()

    config = write_config(bench, auths={guarded.host: {"auth": base64.b64encode("user:pass-wörd".encode()).decode()}})
    before = config.read_bytes()
    small(bench, "b")
    second = bench.build({"REGISTRY": guarded.host}, push=True)
    assert second["a"].digest is not None
    assert second["b"].digest is not None
    assert first["a"].reference == second["a"].reference
    assert config.read_bytes() == before

    helper = tmp_path / "bin" / "docker-credential-ours"
    helper.parent.mkdir()
    helper.write_text('#!/bin/sh\ncat >/dev/null; printf \'{"Username": "user", "Secret": "pass-wörd"}\'\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    write_config(bench, credsStore="ours")
    small(bench, "c")
    assert bench.build({"REGISTRY": guarded.host}, push=True)["c"].digest is not None
    assert sorted(path.name for path in (bench.folder / "docker").iterdir()) == ["config.json"]


def test_a_private_base_image_is_pulled_with_the_login(bench: Bench, guarded: Registry) -> None:
    name, host = f"{guarded.host}/user/base:1", need("DOCKER_HOST")
    docker(host, "tag", BUSYBOX, name)
    mine = {"REGISTRY": guarded.host, "REGISTER_USERNAME": "user", "REGISTER_PASSWORD": "pass-wörd"}
    config = bench.settings(mine)
    from src.engine import open_engine
    from src.image.login import find_login

    login = find_login(guarded.host, config)
    assert login is not None
    with open_engine(config) as client:
        assert not [
            event
            for event in client.push(name, stream=True, decode=True, auth_config=login.auth_config)
            if "error" in event
        ]
    docker(host, "rmi", name)
    bench.component("part", {"Dockerfile": f"FROM {name}\nCOPY main.py /\n"})
    bench.build(mine, push=True)
    assert docker(host, "images", "--quiet", name), "later starts find it without its registry"
    docker(host, "rmi", name)
    with pytest.raises(ImageError, match="is not found"):
        bench.build(push=False)


@pytest.mark.parametrize(
    ("environ", "message", "hint"),
    [
        ({"REGISTER_USERNAME": "user", "REGISTER_PASSWORD": "wrong"}, "refuses the login of user", "REGISTER_PASSWORD"),
        ({"REGISTRY_NAMESPACE": "x"}, "needs a login", "docker login"),
    ],
)
def test_a_login_that_is_wrong_is_told_before_the_builds(
    bench: Bench, guarded: Registry, lines: Lines, environ: dict[str, str], message: str, hint: str
) -> None:
    small(bench, "part")
    with pytest.raises(ImageError, match=message) as caught:
        bench.build({"REGISTRY": guarded.host, **environ}, push=True)
    assert hint in caught.value.hint
    assert "wrong" not in caught.value.message
    assert not lines.having("building")


@pytest.mark.parametrize(
    ("username", "password", "message"),
    [
        ("reader", "r", "may not push to"),
        ("writer", "bad", "refuses the login of writer"),
        ("nobody", "", "REGISTER_PASSWORD"),
    ],
)
def test_tokens_for_those_who_may_not(bench: Bench, lines: Lines, username: str, password: str, message: str) -> None:
    small(bench, "part")
    with fake_registry(reader=("r", False), writer=("w", True)) as server:
        environ = {"REGISTRY": server.host, "REGISTER_USERNAME": username, "REGISTER_PASSWORD": password}
        with pytest.raises(Exception, match=message) as caught:
            bench.build(environ, push=True)
    assert caught.type.__name__ in ("ImageError", "ConfigError")
    assert not lines.having("building")


def test_tokens_for_those_who_may(bench: Bench) -> None:
    from src.image.lookup import Lookup
    from src.image.reference import Reference

    with fake_registry(writer=("w", True)) as server:
        write_config(bench, auths={server.host: {"auth": "", "identitytoken": "good"}})
        mine = {"REGISTER_USERNAME": "writer", "REGISTER_PASSWORD": "w"}
        for settings in [bench.settings({"REGISTRY": server.host, **more}) for more in (mine, {})]:
            server.busy = 1
            with Lookup(settings, None) as lookup:
                name = Reference(registry=server.host, path="a/b", tag="1", digest=None)
                assert lookup.find(name) is None
                lookup.check_push(name)
    assert [one for one in server.asked if one.startswith("DELETE")] == ["DELETE /v2/a/b/blobs/uploads/1"] * 2


# --- Platforms ---


def put_list(host: str, platforms: dict[str, str]) -> str:
    """Put a manifest list over images of a registry, by architecture; return its name."""
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    manifests = []
    for architecture, tag in platforms.items():
        request = urllib.request.Request(f"http://{host}/v2/multi/manifests/{tag}", headers={"Accept": media_type})
        with urllib.request.urlopen(request) as answer:
            body = answer.read()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        platform = {"architecture": architecture, "os": "linux"}
        manifests.append({"mediaType": media_type, "size": len(body), "digest": digest, "platform": platform})
    list_type = "application/vnd.docker.distribution.manifest.list.v2+json"
    body = json.dumps({"schemaVersion": 2, "mediaType": list_type, "manifests": manifests}).encode()
    url = f"http://{host}/v2/multi/manifests/all"
    request = urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": list_type})
    urllib.request.urlopen(request).close()
    return f"{host}/multi:all"


def save_empty(path: Path, name: str, architecture: str) -> Path:
    """Write an image with one small layer, as `docker save` does."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(architecture))
    diff_id = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    config = {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        for inner, data in (
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
            ("layer.tar", layer.getvalue()),
        ):
            entry = tarfile.TarInfo(inner)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def test_images_for_another_platform(bench: Bench, registry: Registry, tmp_path: Path) -> None:
    host = need("DOCKER_HOST")
    for architecture in ("amd64", "arm64"):
        name = f"{registry.host}/multi:{architecture}"
        docker(host, "load", "--input", str(save_empty(tmp_path / "image.tar", name, architecture)))
        docker(host, "push", "--quiet", name)
        docker(host, "rmi", name)
    base = put_list(registry.host, {"amd64": "amd64", "arm64": "arm64"})
    bench.tiny = base
    bench.component("part", {"Dockerfile": f"FROM {base}\nCOPY main.py /\n"})
    try:
        keys = set()
        for architecture in ("arm64", "amd64", "arm64"):
            image = bench.build({"REGISTRY": registry.host, "IMAGE_PLATFORM": f"linux/{architecture}"}, push=True)[
                "part"
            ]
            assert image.digest is not None
            keys.add(image.key)
            docker(host, "pull", "--quiet", image.digest)
            assert inspect(host, image.digest)["Architecture"] == architecture
        assert len(keys) == 2
        with pytest.raises(ImageError, match="s390x"):
            bench.build({"REGISTRY": registry.host, "IMAGE_PLATFORM": "linux/s390x"}, push=True)
    finally:
        for pulled in set(docker(host, "images", "--quiet", "--no-trunc", f"{registry.host}/multi").split()):
            docker(host, "rmi", "--force", pulled)


# --- Registries that go away ---


def big(bench: Bench, megabytes: int = 60) -> None:
    small(bench, "part", os.urandom(megabytes << 20))


def test_a_registry_that_comes_back_in_the_middle_of_a_push(
    bench: Bench, registry: Registry, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    big(bench)
    bench.build()
    monkeypatch.setattr(pushing, "EVERY", 0.0)

    def restart() -> None:
        registry.end(signal.SIGKILL)
        registry.start()

    lines.when("part: pushing, ", restart)
    image = bench.build({"REGISTRY": registry.host}, push=True)["part"]
    assert not lines.waiting, "the registry was not killed"
    assert bench.find({"REGISTRY": registry.host}, push=True)["part"].digest == image.digest


def test_a_registry_that_stays_away(
    bench: Bench, registry: Registry, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    big(bench)
    bench.build()
    monkeypatch.setattr(pushing, "EVERY", 0.0)
    monkeypatch.setattr(pushing, "WAITS", ())  # the engine alone tries for 50 seconds
    lines.when("part: pushing, ", lambda: registry.end(signal.SIGKILL))
    with pytest.raises(ImageError, match="cannot be pushed") as caught:
        bench.build({"REGISTRY": registry.host}, push=True)
    assert not lines.waiting, "the registry was not killed"
    assert "goes on from here" in caught.value.hint
    registry.start()
    lines.texts.clear()
    assert bench.build({"REGISTRY": registry.host}, push=True)["part"].digest
    assert not lines.having("building")


def test_a_registry_that_is_not_there(bench: Bench) -> None:
    small(bench, "part")
    with pytest.raises(ImageError) as caught:
        bench.build({"REGISTRY": "127.0.0.1:9"}, push=True)
    assert "127.0.0.1:9" in caught.value.message


# --- Secrets ---


def test_the_password_is_nowhere(bench: Bench, guarded: Registry, tmp_path: Path) -> None:
    """While the program builds and pushes: no process shows it; afterwards no image, log or file has it."""
    secret = "pass-wörd"
    for number in range(3):
        bench.component(f"part{number}", {"data": os.urandom(1 << 22), "main.py": "print(1)"})
    bench.plan  # noqa: B018  # writes the DAG file
    home = tmp_path / "home"
    home.mkdir()
    environ = {
        **os.environ, "HOME": str(home), "REGISTRY": guarded.host, "REGISTER_USERNAME": "user", "BASE_IMAGE": BASE,
        "REGISTER_PASSWORD": secret, "KFP_API_URL": "http://127.0.0.1:9", "DOCKER_HOST": need("DOCKER_HOST"),
        "KUBECONFIG": os.devnull,
    }  # fmt: skip
    command = [sys.executable, str(ROOT / "docker_build.py"), "-v", "-i", str(bench.folder / "dag.yaml")]
    command += ["--target", "kubeflow", "--env-file", os.devnull]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        shown: list[bytes] = []
        thread = threading.Thread(target=lambda: shown.append(process.communicate()[0]))
        thread.start()
        seen = 0
        while thread.is_alive():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    assert secret.encode() not in path.read_bytes()
                    seen += 1
                except OSError:  # it has ended
                    continue
        thread.join()
    assert process.returncode == 0, shown
    assert seen > 100
    assert secret.encode() not in shown[0]
    assert b"pushed" in shown[0]
    mine = {name: environ[name] for name in ("REGISTRY", "REGISTER_USERNAME", "REGISTER_PASSWORD")}
    for image in bench.find(mine, push=True).values():
        about = docker(need("DOCKER_HOST"), "history", "--no-trunc", image.reference)
        about += json.dumps(inspect(need("DOCKER_HOST"), image.reference))
        assert "pass-w" not in about
    left = [path for path in home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert not left
    assert not (home / ".docker").exists()
