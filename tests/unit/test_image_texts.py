"""Stage 3, what is pure: names of images, .dockerignore, Dockerfiles, settings."""

from pathlib import Path
from typing import Any

import pytest

from src.dag import Options
from src.errors import ConfigError, FetchError
from src.image.dockerfile import fill_template, says_something, set_base
from src.image.dockerignore import kept_files, parse_patterns
from src.image.instructions import add_labels, find_bases, pin_bases, read_instructions
from src.image.recipe import TEMPLATE, choose_base
from src.image.reference import parse_reference
from src.settings import ROOT, Settings, load_settings

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.11-slim", "docker.io/library/python:3.11-slim"),
        ("me/app:1", "docker.io/me/app:1"),
        ("docker.io/library/python:3", "docker.io/library/python:3"),
        ("index.docker.io/me/app:1", "docker.io/me/app:1"),
        ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t"),
        ("localhost/x", "localhost/x:latest"),
        ("ghcr.io/a/b:1@" + DIGEST, "ghcr.io/a/b@" + DIGEST),
        ("[::1]:5000/x:1", "[::1]:5000/x:1"),
        ("myhost/x", "docker.io/myhost/x:latest"),
    ],
)
def test_names_are_read_as_docker_does(text: str, whole: str) -> None:
    reference = parse_reference(text)
    assert reference is not None
    assert reference.text == whole


@pytest.mark.parametrize("text", ["", "A", "a//b", "a b", "-x", "x:", "x@sha256:12", "http://x/y", "x;rm -rf"])
def test_what_is_no_name_is_told(text: str) -> None:
    assert parse_reference(text) is None


def kept(tmp_path: Path, dockerignore: str, *files: str) -> list[str]:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return sorted(path.relative_to(tmp_path).as_posix() for path in kept_files(tmp_path, dockerignore))


@pytest.mark.parametrize(
    ("dockerignore", "left"),
    [
        ("", ["a.log", "d/b.log", "d/keep.log", "d/e/c.txt", "main.py"]),
        ("*.log", ["d/b.log", "d/keep.log", "d/e/c.txt", "main.py"]),
        ("**/*.log\n!**/keep.log\n", ["d/e/c.txt", "d/keep.log", "main.py"]),
        ("d\n", ["a.log", "main.py"]),
        ("/d/\n!d/keep.log", ["a.log", "d/keep.log", "main.py"]),
        ("*\n!main.py", ["main.py"]),
        ("# d\n\n  a.log  \r\n", ["d/b.log", "d/keep.log", "d/e/c.txt", "main.py"]),
        ("d/*/c.*", ["a.log", "d/b.log", "d/keep.log", "main.py"]),
        ("[a-c].log\nd/?.log", ["d/e/c.txt", "d/keep.log", "main.py"]),
        ("D", ["a.log", "d/b.log", "d/keep.log", "d/e/c.txt", "main.py"]),
        ("./x/../d", ["a.log", "main.py"]),
        ("d\n!**/keep.log", ["a.log", "main.py"]),  # as in Docker: the folder is not looked into
    ],
)
def test_dockerignore_is_read_as_docker_does(tmp_path: Path, dockerignore: str, left: list[str]) -> None:
    files = ("a.log", "d/b.log", "d/keep.log", "d/e/c.txt", "main.py", ".git/config", "d/__pycache__/x.pyc")
    assert kept(tmp_path, dockerignore, *files) == sorted(left)


@pytest.mark.parametrize("text", ["ok\n[a", "!", "a\n\n!  "])
def test_a_bad_pattern_is_told_with_its_line(text: str) -> None:
    with pytest.raises(FetchError, match=rf"\.dockerignore:{text.count(chr(10)) + 1}: "):
        parse_patterns(text)


def fill(**given: Any) -> str:
    values: dict[str, Any] = {"packages": [], "requirements": "", "build_args": [], **given}
    return set_base(fill_template(TEMPLATE.read_text(), **values), "base:1")


def words(text: str) -> list[str]:
    return [f"{one.word} {one.rest}".split(" #")[0] for one in read_instructions(text)]


def test_the_template_is_filled() -> None:
    bare = words(fill())
    assert bare[0] == "FROM base:1"
    assert "{{" not in fill()
    assert bare[-2:] == ["USER 1000:1000", "COPY component/ ./"]
    assert not any("pip install" in line for line in bare)
    assert not any(":latest" in line for line in bare)


def test_layers_come_in_the_order_of_change() -> None:
    lines = words(fill(packages=["ffmpeg", "libgl1"], requirements="numpy\n", build_args=["B", "A"]))
    order = ["FROM", "USER 0", "ARG A", "ARG B", "RUN set", "COPY stub", "WORKDIR", "COPY component/req", "RUN PIP"]
    order += ["USER 1000", "COPY component/ ./"]
    at = [next(number for number, line in enumerate(lines) if line.startswith(start)) for start in order]
    assert at == sorted(at)
    assert "packages='ffmpeg libgl1'; needs_pip='yes'" in lines[4]


@pytest.mark.parametrize(
    "requirements", ["-r more.txt\n", "-e .\n", "./x.whl", "numpy\n-c c.txt", "x @ file:x.whl", "-f wheels", "x.whl"]
)
def test_requirements_that_name_files_get_the_files_first(requirements: str) -> None:
    lines = words(fill(requirements=requirements))
    assert lines.count("COPY component/ ./") == 1
    assert lines.index("COPY component/ ./") < next(n for n, line in enumerate(lines) if "pip install" in line)


@pytest.mark.parametrize(
    "requirements", ["numpy\n", "a==1\r\nb\r\n", "requests", "# -r x\nflask", "-i https://x/simple\na"]
)
def test_other_requirements_come_before_the_files(requirements: str) -> None:
    lines = words(fill(requirements=requirements))
    assert lines.index("COPY component/ ./") > next(n for n, line in enumerate(lines) if "pip install" in line)


@pytest.mark.parametrize("text", ["", "\n", "# numpy\n", "  \r\n  # x\r\n"])
def test_requirements_that_say_nothing_need_no_pip(text: str) -> None:
    assert not says_something(text)
    assert "needs_pip=''" in fill(requirements=text)


def test_the_media_comes_last() -> None:
    assert words(fill(media=True))[-1] == "COPY media/ /media/"


@pytest.mark.parametrize(
    ("text", "bases"),
    [
        ("FROM python:3.9\nRUN x", ["python:3.9"]),
        ("from a AS build\nFROM b\nCOPY --from=build /x /x\nCOPY --from=0 /y /y", ["a", "b"]),
        ("FROM scratch\nCOPY --from=c:1 / /", ["c:1"]),
        ("FROM a AS Build\nFROM build", ["a"]),
        ("ARG V=3.9\nFROM python:${V}-slim", ["python:3.9-slim"]),
        ("ARG V\nFROM python:$V", ["python:3.10"]),
        ("ARG X\nFROM a:${X:-1}", ["a:1"]),
        ("ARG X=2\nFROM a:${X:+9}", ["a:9"]),
        ("FROM $UNKNOWN", []),
        ("FROM --platform=linux/amd64 \\\n  a:1 \\\n  AS b # no comment here\n", ["a:1"]),
        ("# syntax\n# escape=`\nFROM `\n a:1", ["a:1"]),
        ("\ufeffFROM a:1\r\nRUN b\r\n", ["a:1"]),
    ],
)
def test_bases_of_a_dockerfile(text: str, bases: list[str]) -> None:
    assert find_bases(text, {"V": "3.10"} if "ARG V\n" in text else {}) == bases


def test_bases_are_pinned_where_they_stand() -> None:
    text = (
        "ARG V=1\nfrom \\\n  --platform=x a:$V as a\nFROM a\nCOPY --chown=1 --from=m:2 /m /m\nFROM m:2 # m:2\nRUN a:1\n"
    )
    pinned = pin_bases(text, {}, {"a:1": "a@1", "m:2": "m@2"})
    assert pinned.splitlines() == [
        *("ARG V=1", "from \\", "  --platform=x a@1 as a", "FROM a", "COPY --chown=1 --from=m@2 /m /m"),
        *("FROM m@2 # m:2", "RUN a:1"),
    ]
    assert pin_bases("from m\n", {}, {"m": "n"}) == "from n\n"
    assert pin_bases("FROM $X\n", {}, {}) == "FROM $X\n"


def test_every_stage_is_labelled_and_the_last_one_twice() -> None:
    text = add_labels("FROM a \\\n  AS b\nRUN x \\\n FROM\nFROM c\nCMD x", "first=1", "last=2")
    assert text == "FROM a \\\n  AS b\nLABEL first=1\nRUN x \\\n FROM\nFROM c\nLABEL first=1\nCMD x\nLABEL last=2\n"


@pytest.mark.parametrize(
    ("options", "setting", "base"),
    [
        (Options(), None, "python:3.11-slim"),
        (Options(), "mine:1", "mine:1"),
        (Options(python="3.9"), None, "python:3.9-slim"),
        (Options(python="3.9"), "mine:1", "python:3.9-slim"),
        (
            Options(python="3.9"),
            "reg.example/mirror/python:3.12.1-slim-bookworm",
            "reg.example/mirror/python:3.9-slim-bookworm",
        ),
        (Options(python="3.8"), "reg:5000/python:3", "reg:5000/python:3.8"),
        (Options(python="3.9", base_image="own:2"), "mine:1", "own:2"),
    ],
)
def test_base_image_before_python_before_setting(options: Options, setting: str | None, base: str) -> None:
    settings = load_settings(Path("/dev/null"), {"BASE_IMAGE": setting or " "})
    assert choose_base(options, settings) == base


# --- Settings ---


def settings_of(**environ: str) -> Settings:
    return load_settings(Path("/dev/null"), environ)


@pytest.mark.parametrize(
    ("environ", "registry", "namespace"),
    [
        ({}, "docker.io", None),
        ({"REGISTRY": " "}, "docker.io", None),
        ({"REGISTRY": "https://index.docker.io/v1/"}, "docker.io", None),
        ({"REGISTRY": "ghcr.io", "REGISTRY_NAMESPACE": "me"}, "ghcr.io", "me"),
        ({"REGISTRY": "https://ghcr.io/me/"}, "ghcr.io", "me"),
        (
            {"REGISTRY": "gitlab.example:5050/group", "REGISTRY_NAMESPACE": "/project/"},
            "gitlab.example:5050",
            "group/project",
        ),
        ({"REGISTRY": "localhost:5000"}, "localhost:5000", None),
        ({"REGISTRY": "localhost"}, "localhost", None),
    ],
)
def test_registry_as_people_write_it(environ: dict[str, str], registry: str, namespace: str | None) -> None:
    settings = settings_of(**environ)
    assert (settings.registry, settings.registry_namespace) == (registry, namespace)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"REGISTRY": "myuser"}, "REGISTRY"),
        ({"REGISTRY": "a b.c"}, "REGISTRY"),
        ({"REGISTRY_NAMESPACE": "Me"}, "REGISTRY_NAMESPACE"),
        ({"IMAGE_PLATFORM": "amd64"}, "IMAGE_PLATFORM"),
        ({"IMAGE_PLATFORM": "linux/amd46"}, "IMAGE_PLATFORM"),
        ({"BUILD_JOBS": "0"}, "BUILD_JOBS"),
        ({"BUILD_JOBS": "many"}, "BUILD_JOBS"),
        ({"BUILD_ARGS": "A='1"}, "BUILD_ARGS"),
        ({"BUILD_ARGS": "NOT_SET"}, "NOT_SET"),
        ({"BUILD_ARGS": "1=2"}, "BUILD_ARGS"),
        ({"MEDIA_TRANSPORT": "post"}, "MEDIA_TRANSPORT"),
    ],
)
def test_wrong_settings_are_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of(**environ)
    assert named in caught.value.message
    assert caught.value.hint


def test_build_args_and_proxies() -> None:
    settings = settings_of(
        BUILD_ARGS="A=1 B='x y' C", C="hunter2", http_proxy="http://p:1", NO_PROXY="x", HTTPS_PROXY=" "
    )
    assert settings.build_args == {"A": "1", "B": "x y", "C": "hunter2"}
    assert settings.proxies == {"http_proxy": "http://p:1", "NO_PROXY": "x"}
    assert "hunter2" not in repr(settings)
    assert "http://p:1" not in repr(settings)


def test_no_secret_is_shown() -> None:
    shown = repr(settings_of(REGISTER_PASSWORD="hunter2", REGISTER_USERNAME="me"))
    assert "hunter2" not in shown
    assert "me" in shown


def test_the_settings_file_as_shipped_sets_nothing_and_names_all() -> None:
    text = (ROOT / ".env").read_text()
    assert load_settings(ROOT / ".env", {}) == load_settings(Path("/dev/null"), {})
    for name in ("REGISTER_USERNAME", "REGISTER_PASSWORD", "COMPONENTS_DIR", "CACHE_DIR", "OUTPUT_DIR", "KFP_API_URL"):
        assert f"\n#{name}=" in text
    uncommented = "".join(line.removeprefix("#") for line in text.splitlines(keepends=True) if line[1:2] != " ")
    assert "REGISTRY=docker.io\n" in uncommented
