"""Stage 3 on the real engine: every shape of component becomes an image that runs, or fails with what is wrong."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from src.errors import AutopipeError, ConfigError, FetchError, ImageError
from src.image import build, workshop
from tests.integration.engines import BASE, BUSYBOX, Bench, Lines, docker, inspect, label, need, wait_until


@pytest.fixture
def host() -> str:
    return need("DOCKER_HOST")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench on the shared engine."""
    return Bench(tmp_path / "bench")


def seen(path: Path) -> tuple[int, ...]:
    status = path.lstat()
    return status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def run_in(host: str, image: str | None, *command: str, user: str | None = None) -> str:
    assert image
    chosen = ["--user", user] if user else []
    return docker(host, "run", "--rm", "--network=none", *chosen, "--entrypoint", command[0], image, *command[1:])


# --- What an image is like ---


def test_an_image_runs_as_a_step_does(bench: Bench, host: str) -> None:
    folder = bench.component("Part_1", {"sub/data.txt": "data", "tool": "#!/bin/sh\necho tool\n"})
    (folder / "tool").chmod(0o755)
    (folder / "sub" / "data.txt").chmod(0o600)  # others could not read it
    before = {path: seen(path) for path in folder.rglob("*")}
    images = bench.build()
    image = images["Part_1"]
    assert image.reference == f"autopipe.local/part-1:{image.key}"
    assert image.digest is None
    assert inspect(host, image.reference)["Id"] == image.id
    config = inspect(host, image.reference)["Config"]
    assert config["User"] == "1000:1000"
    assert config["WorkingDir"] == "/component"
    assert not config["Entrypoint"]
    assert config["Cmd"] == ["python", "main.py"]
    assert config["Labels"]["autopipe.key"] == image.key
    assert config["Labels"]["autopipe.component"] == "Part_1"
    assert run_in(host, image.id, "python", "main.py") == "Part_1"
    script = "import os, pwd, sys; print(os.getuid(), pwd.getpwuid(os.getuid()).pw_name, open('sub/data.txt').read())"
    assert run_in(host, image.id, "python3", "-c", script) == "1000 autopipe data"
    assert run_in(host, image.id, "./tool", user="4321:4321") == "tool"
    assert run_in(host, images["save-media"].id, "python", "main.py", "--help").startswith("usage:")
    assert {path: seen(path) for path in folder.rglob("*")} == before


def test_the_stub_is_last_on_the_path(bench: Bench, host: str) -> None:
    bench.component(
        "stub",
        {"main.py": "from aisprint.annotations import annotation\nimport aisprint, sys\nprint(aisprint.__file__)"},
    )
    bench.component("real", {"main.py": "import aisprint\nprint(aisprint.__file__)", "aisprint/__init__.py": ""})
    vendored = "FROM {}\nRUN cd /usr/lib/python3/dist-packages && mkdir aisprint && touch aisprint/__init__.py\n"
    docker_build(host, vendored.format(BASE), "autopipe-test/with-aisprint:1")
    bench.component(
        "installed",
        {"main.py": "import aisprint\nprint(aisprint.__file__)"},
        base_image="autopipe-test/with-aisprint:1",
    )
    images = bench.build()
    assert run_in(host, images["stub"].id, "python", "main.py") == "/opt/autopipe/aisprint/__init__.py"
    assert run_in(host, images["real"].id, "python", "main.py") == "/component/aisprint/__init__.py"
    assert "dist-packages" in run_in(host, images["installed"].id, "python", "main.py")
    docker(host, "rmi", "autopipe-test/with-aisprint:1")


def docker_build(host: str, dockerfile: str, tag: str) -> None:
    subprocess.run(
        ["docker", "--host", host, "build", "--quiet", "--tag", tag, "-"],
        input=dockerfile.encode(),
        check=True,
        capture_output=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DOCKER_BUILDKIT": "0", "HOME": "/nonexistent"},
    )


@pytest.mark.parametrize(
    ("change", "packages"),
    [
        ("RUN mv /usr/bin/python3 /usr/bin/python\nUSER nobody\nENTRYPOINT [\"/bin/false\"]\nWORKDIR /x", ""),
        ("RUN apt-get purge --yes --allow-remove-essential 'python3*' >/dev/null 2>&1; ! command -v python3", "six"),
    ],
)  # fmt: skip
def test_any_base_will_do(bench: Bench, host: str, change: str, packages: str) -> None:
    name = "autopipe-test/odd:1"
    docker_build(host, f"FROM {BASE}\n{change}\n", name)
    try:
        files = {"main.py": f"import {packages or 'sys'}, aisprint\nprint('ran')", "requirements.txt": packages}
        bench.component("odd", files, base_image=name)
        image = bench.build()["odd"]
        assert run_in(host, image.id, "python", "main.py") == "ran"
        assert run_in(host, image.id, "python3", "main.py") == "ran"
    finally:
        docker(host, "rmi", name, check=False)


def test_a_base_without_anything_is_told(bench: Bench) -> None:
    bench.component("bare", base_image=BUSYBOX)
    with pytest.raises(ImageError) as caught:
        bench.build()
    assert "component bare" in caught.value.message
    assert any("neither apt-get nor apk" in line for line in caught.value.details)
    assert "BASE_IMAGE" in caught.value.hint


# --- Requirements, in every shape ---


def test_requirements_build(bench: Bench, host: str) -> None:
    shapes = [None, "", "# none\r\n\r\n", "six", "six\r\n# x\r\n", "\ufeffsix==1.16.0\n\n"]
    main = "import importlib.util\nprint(importlib.util.find_spec('six') is not None)"
    for number, shape in enumerate(shapes):
        files = {} if shape is None else {"requirements.txt": shape}
        bench.component(f"part{number}", {"main.py": main, **files})
    images = bench.build()
    for number, shape in enumerate(shapes):
        printed = run_in(host, images[f"part{number}"].id, "python", "main.py")
        assert printed == str("six" in (shape or "")), shape


def test_requirements_of_both_kinds_and_local_ones(bench: Bench, host: str) -> None:
    files: dict[str, str | bytes] = {
        "requirements.sys": "# tools\r\n\r\njq\r\n",
        "requirements.txt": "-r more/list.txt\n./package\n",
        "more/list.txt": "six\n",
        "package/pyproject.toml": "[project]\nname = 'mypackage'\nversion = '1'\n[build-system]\nrequires = []\n"
        "build-backend = 'backend'\nbackend-path = ['.']\n",
        "package/backend.py": BACKEND,
        "main.py": "import six, mypackage, shutil\nprint(mypackage.X, bool(shutil.which('jq')))",
    }
    bench.component("part", files)
    assert run_in(host, bench.build()["part"].id, "python", "main.py") == "1 True"


BACKEND = """
import zipfile
def build_wheel(folder, *_, **__):
    name = "mypackage-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("mypackage.py", "X = 1")
        wheel.writestr("mypackage-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mypackage\\nVersion: 1\\n")
        wheel.writestr("mypackage-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("mypackage-1.dist-info/RECORD", "")
    return name
"""


@pytest.mark.parametrize(
    ("files", "message", "shown", "hint"),
    [
        ({"requirements.txt": "six\nlibrosa=0.10.0\n"}, "its requirements", "librosa=0.10.0", "requirements.txt"),
        ({"requirements.txt": "autopipe-no-such==9\n"}, "its requirements", "autopipe-no-such", "python:"),
        ({"requirements.sys": "jq\n\nno-such-x\n"}, "its system packages", "requirements.sys:3: no-such-x", ".sys"),
        ({"requirements.sys": "jq\nlibgl1;reboot\n"}, "requirements.sys:2", "", "one package a line"),
        ({"Dockerfile": f"FROM {BASE}\nRUN true\nRUN echo why >&2; exit 3\n"}, "at step 4/5", "why", "Dockerfile"),
        ({"Dockerfile": f"FROM {BASE}\nRUNX\n"}, "refuses its Dockerfile", "", "Dockerfile"),
        ({"Dockerfile": f"FROM {BASE}\nRUN --mount=type=cache,target=/x true\n"}, "at step", "BuildKit", "BuildKit"),
        ({"Dockerfile": "FROM 127.0.0.1:5000/no/such:1\n"}, "127.0.0.1:5000/no/such:1 is not found", "", "Dockerfile"),
        ({"Dockerfile": "FROM UPPER\n"}, "UPPER is no image's name", "", "python:3.11-slim"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_shown(
    bench: Bench, host: str, files: dict[str, str], message: str, shown: str, hint: str
) -> None:
    bench.component("part", files)
    with pytest.raises(ImageError) as caught:
        bench.build()
    error = caught.value
    assert message in error.message
    assert shown in "\n".join(error.details)
    assert hint in error.hint
    assert error.status == 4
    assert len(error.details) <= 25
    left = ["ps", "--all", "--quiet", "--filter", f"label={label()}"]
    wait_until(lambda: docker(host, *left) == "", "the engine removes what it was building")


def test_a_dockerfile_of_its_own(bench: Bench, host: str) -> None:
    dockerfile = f"""
ARG BASE={BUSYBOX}
FROM {BASE} AS build
ARG WORD
COPY . /src
RUN ls -A /src > /list; echo $WORD >> /list; echo ${{http_proxy:-none}} >> /list
FROM $BASE
COPY --from=build /list /list
CMD ["cat", "/list"]
"""
    bench.component("own", {"Dockerfile": dockerfile, ".dockerignore": "*.md\nDockerfile\n", "a.md": "", "b.txt": ""})
    proxies = {"HTTP_PROXY": "http://up:1", "http_proxy": "http://proxy.invalid:1"}
    image = bench.build({"BUILD_ARGS": "WORD='two words' OTHER=1", **proxies})["own"]
    listed = docker(host, "run", "--rm", "--network=none", image.reference).split("\n")
    assert listed == [".dockerignore", "b.txt", "main.py", "two words", "http://proxy.invalid:1"]
    config = inspect(host, image.reference)["Config"]
    assert config["User"] == ""
    assert config["Labels"]["autopipe.key"] == image.key
    assert "proxy.invalid" not in docker(host, "history", "--no-trunc", image.reference)
    assert "proxy.invalid" not in json.dumps(inspect(host, image.reference))


def test_dockerignore_means_what_it_means_to_docker(bench: Bench, host: str, tmp_path: Path) -> None:
    patterns = "# x\n**/*.log\n!**/keep.log\nd\n!d/inner\n/e/*\n!e/[ab].txt\nF\n*.tm?\n"
    paths = [
        "x.log",
        "keep.log",
        "s/keep.log",
        "s/y.log",
        "d/a",
        "d/inner/b",
        "e/a.txt",
        "e/c.txt",
        "e/f/g",
        "f/x",
        "u.tmp",
        "s/u.tmp",
    ]
    folder = bench.component("part", {".dockerignore": patterns, **dict.fromkeys(paths, "")})
    ours = run_in(host, bench.build()["part"].id, "find", ".", "-type", "f").split("\n")
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\nCOPY . /x\nWORKDIR /x\nCMD find . -type f\n")
    docker(
        host, "build", "--quiet", "--tag", "autopipe-test/ignore:1", "--file", str(tmp_path / "Dockerfile"), str(folder)
    )
    theirs = docker(host, "run", "--rm", "autopipe-test/ignore:1").split("\n")
    docker(host, "rmi", "autopipe-test/ignore:1")
    assert sorted(ours) == sorted(theirs)


# --- Keys and reuse in the engine ---


def test_same_content_elsewhere_is_the_same_image(bench: Bench, tmp_path: Path, lines: Lines) -> None:
    bench.component("part", {"data": "1"})
    first = bench.build()
    other = Bench(tmp_path / "else where")
    (other.component("part", {"data": "1"}) / "data").chmod(0o666)
    lines.texts.clear()
    again = other.build()
    assert {name: (one.key, one.id) for name, one in first.items()} == {
        name: (one.key, one.id) for name, one in again.items()
    }
    assert not lines.having("building")
    assert other.find() == again


def test_a_changed_component_is_built_alone(bench: Bench, lines: Lines) -> None:
    for name in ("a", "b", "c"):
        bench.component(name)
    first = bench.build()
    bench.component("b", {"main.py": "print('changed')\n"})
    assert "b" not in bench.find()
    lines.texts.clear()
    second = bench.build()
    assert [text.partition(":")[0] for text in lines.having(": building")] == ["b"]
    assert {name for name in first if first[name] != second[name]} == {"b"}


def test_a_base_that_moved_gives_other_tags(bench: Bench, host: str) -> None:
    name = "autopipe-test/moving:1"
    docker_build(host, f"FROM {BASE}\nRUN echo 1 > /version\n", name)
    bench.component("part", base_image=name)
    first = bench.build()
    docker_build(host, f"FROM {BASE}\nRUN echo 2 > /version\n", name)
    second = bench.build()
    docker(host, "rmi", name)
    assert first["part"].key != second["part"].key
    assert first["save-media"] == second["save-media"]
    assert run_in(host, second["part"].id, "cat", "/version") == "2"


def test_rebuild_builds_anew(bench: Bench, host: str) -> None:
    bench.component("part", {"Dockerfile": f"FROM {BUSYBOX}\nRUN cat /proc/sys/kernel/random/uuid > /when\n"})
    first, again, anew = bench.build(), bench.build(), bench.build(rebuild=True)
    assert first == again
    assert (anew["part"].key, anew["part"].reference) == (first["part"].key, first["part"].reference)
    assert anew["part"].id != first["part"].id
    assert bench.build() == anew
    assert docker(host, "images", "--quiet", "--no-trunc", str(first["part"].id)) == ""


def test_build_arguments_that_look_secret_are_warned_of(bench: Bench, lines: Lines) -> None:
    bench.component("part", {"Dockerfile": f"FROM {BUSYBOX}\nARG INDEX\nARG WORD\nRUN true\n"})
    bench.build({"BUILD_ARGS": "INDEX=https://me:hunter2@index.example/ WORD=x"})
    (warning,) = lines.having("looks like a secret")
    assert "INDEX" in warning
    assert not lines.having("hunter2@")


def test_the_media_travels_in_an_image_only_if_asked(bench: Bench, host: str) -> None:
    bench.component("part")
    clip = bench.folder / "my clip.mp4"
    bench.media = [str(clip)]
    keys = set()
    for content in ("1", "2"):
        clip.write_text(content)
        image = bench.build({"MEDIA_TRANSPORT": "image"}, carry_media=True)["save-media"]
        assert run_in(host, image.id, "cat", "/media/my_clip.mp4") == content
        keys.add(image.key)
    for plain in (bench.build(carry_media=True), bench.build({"MEDIA_TRANSPORT": "image"})):
        assert plain["save-media"].key not in keys
        assert run_in(host, plain["save-media"].id, "sh", "-c", "ls /media") == ""
    assert len(keys) == 2
    clip.unlink()
    with pytest.raises(FetchError, match=r"my clip\.mp4"):
        bench.build({"MEDIA_TRANSPORT": "image"}, carry_media=True)


def test_wrong_platforms_are_told(bench: Bench, host: str) -> None:
    bench.component("part")
    with pytest.raises(ImageError, match=r"is for linux/\w+, not for linux/\w+") as caught:
        bench.build({"IMAGE_PLATFORM": "linux/arm64" if "amd64" in docker(host, "version") else "linux/amd64"})
    assert "IMAGE_PLATFORM" in caught.value.hint


def test_the_component_is_not_changed_on_the_way(bench: Bench, lines: Lines) -> None:
    folder = bench.component("part", {"data": f"1 {os.getpid()}"})
    original = build.build_image

    def changing(*words: Any) -> str:
        if words[0].recipe.component == "part":
            (folder / "data").write_text("2")
        return original(*words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workshop, "build_image", changing)
        with pytest.raises(ImageError, match="changed while"):
            bench.build()
    assert "part" not in bench.find()


# --- The engine as it should not be ---


@pytest.mark.parametrize(
    ("where", "message", "hint"),
    [
        ("unix:///nowhere/docker.sock", "no Docker engine answers", "systemctl start docker"),
        ("tcp://127.0.0.1:9", "no Docker engine answers", "DOCKER_HOST"),
        ("tcp://no-such-host.invalid:2375", "does not answer as it should", "docker info"),
        ("bogus://x", "does not answer as it should", "docker info"),
    ],
)
def test_an_engine_that_is_absent(bench: Bench, where: str, message: str, hint: str) -> None:
    bench.component("part")
    with pytest.raises(ImageError) as caught:
        bench.build({"DOCKER_HOST": where})
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_engine_that_is_not_permitted(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(self: socket.socket, address: Any) -> None:
        raise PermissionError(13, "Permission denied", address)

    bench.component("part")
    settings_host = "unix:///var/run/docker.sock"
    monkeypatch.setattr(socket.socket, "connect", refuse)  # this test may be root, whom no socket refuses
    with pytest.raises(ImageError, match="no permission") as caught:
        bench.build({"DOCKER_HOST": settings_host})
    assert "usermod" in caught.value.hint


def test_no_place_to_push_to_is_told_before_work(bench: Bench, lines: Lines) -> None:
    bench.component("part")
    with pytest.raises(ConfigError) as caught:
        bench.build(push=True)
    assert caught.value.status == 2
    assert not lines.having("building")


def test_errors_are_our_own(bench: Bench) -> None:
    bench.component("part", {".dockerignore": "[x"})
    with pytest.raises(AutopipeError, match=r"\.dockerignore:1"):
        bench.build()
