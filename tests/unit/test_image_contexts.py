"""Stage 3, what is read from disks: recipes, contexts, keys, logins, notes of use, places of engines."""

import base64
import hashlib
import io
import json
import os
import queue
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from src.components import component_files, component_sum
from src.dag import Dag, Options
from src.engine_place import find_engine
from src.errors import ConfigError, ImageError
from src.image.context import Member, folder_members, stream_context
from src.image.keys import component_key, used_args
from src.image.lanes import Lanes
from src.image.login import find_login, find_push_login
from src.image.place import choose_place
from src.image.recipe import Recipe, list_members, read_packages, read_recipe
from src.image.usage import built_ids, hold_images, is_held, is_used, note_built, note_use
from src.settings import Settings, load_settings
from src.sums import SumMemory


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def make_settings(tmp_path: Path, **environ: str) -> Settings:
    return load_settings(
        Path("/dev/null"), {"CACHE_DIR": str(tmp_path / "cache"), "DOCKER_CONFIG": str(tmp_path / "docker"), **environ}
    )


def component(folder: Path, **files: str | bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"main.py": "pass\n", **files}.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def recipe_of(folder: Path, settings: Settings, media: Mapping[str, Path] | None = None) -> Recipe:
    return read_recipe("it", folder, Options(), settings, media or {})


def whole(members: list[Member]) -> bytes:
    return b"".join(stream_context("it", members, lambda: None))


def entries(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: entry for entry in tar}


# --- Contexts ---


def test_same_content_gives_the_same_context_wherever_it_lies(tmp_path: Path) -> None:
    data = []
    for place, time, mode in (("a", 1, 0o600), ("other/b", 2_000_000_000, 0o664)):
        folder = component(tmp_path / place, sub__x="x", run="#!/bin/sh\n")
        (folder / "run").chmod(mode | 0o100)
        (folder / "link").symlink_to("sub/x")
        for path in (folder / "main.py", folder / "sub" / "x"):
            path.chmod(mode)
            os.utime(path, (time, time))
        data.append(whole(folder_members(folder, component_files(folder))))
    assert data[0] == data[1]
    found = entries(data[0])
    assert {name: oct(entry.mode) for name, entry in found.items()} == {
        "link": "0o777", "main.py": "0o644", "run": "0o755", "sub": "0o755", "sub/x": "0o644",
    }  # fmt: skip
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in found.values()} == {(0, 0, "", 946684800)}
    assert found["link"].linkname == "sub/x"


def test_an_absolute_link_inside_is_made_relative(tmp_path: Path) -> None:
    folder = component(tmp_path / "a", sub__x="x")
    (folder / "sub" / "link").symlink_to(folder / "main.py")
    assert entries(whole(folder_members(folder, component_files(folder))))["sub/link"].linkname == "../main.py"


def test_big_files_are_sent_in_pieces(tmp_path: Path) -> None:
    folder = component(tmp_path / "a")
    with (folder / "model.onnx").open("wb") as file:
        file.truncate(50_000_001)
    pieces = list(stream_context("it", folder_members(folder, component_files(folder)), lambda: None))
    assert max(map(len, pieces)) <= 1 << 20
    assert entries(b"".join(pieces))["model.onnx"].size == 50_000_001


def test_a_file_that_shrinks_meanwhile_ends_the_build(tmp_path: Path) -> None:
    folder = component(tmp_path / "a", big=b"x" * 3_000_000)
    stream = stream_context("it", folder_members(folder, component_files(folder)), lambda: None)
    next(stream)
    next(stream)
    os.truncate(folder / "big", 1_100_000)
    with pytest.raises(ImageError, match="became shorter"):
        list(stream)


def test_names_of_any_kind_survive(tmp_path: Path) -> None:
    name = "ünïcode " + "x" * 120
    folder = component(tmp_path / "a", **{name: "x"})
    assert name in entries(whole(folder_members(folder, component_files(folder))))


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    folder = component(tmp_path / "a")
    os.mkfifo(folder / "pipe")
    assert set(entries(whole(folder_members(folder, component_files(folder))))) == {"main.py"}


# --- Recipes ---


@pytest.mark.parametrize(
    ("content", "packages"),
    [
        (None, {}),
        ("", {}),
        ("\n\n# nothing\n", {}),
        ("ffmpeg", {"ffmpeg": 1}),
        ("ffmpeg\r\n\r\nlibgl1 # for cv2\r\n", {"ffmpeg": 1, "libgl1": 3}),
        ("\ufeffffmpeg=7:5.1-1~x\nb c\nffmpeg=7:5.1-1~x\n", {"ffmpeg=7:5.1-1~x": 1, "b": 2, "c": 2}),
    ],
)
def test_every_shape_of_system_requirements(tmp_path: Path, content: str | None, packages: dict[str, int]) -> None:
    if content is not None:
        (tmp_path / "requirements.sys").write_bytes(content.encode())
    assert read_packages("it", tmp_path / "requirements.sys") == packages


@pytest.mark.parametrize("word", ["a;rm", "$(id)", "'x'", "-y", "a|b", "`id`"])
def test_words_that_are_no_packages_reach_no_shell(tmp_path: Path, word: str) -> None:
    (tmp_path / "requirements.sys").write_text(f"ffmpeg\n\n{word}\n")
    with pytest.raises(ImageError, match=r"requirements\.sys:3: "):
        read_packages("it", tmp_path / "requirements.sys")


def test_requirements_in_utf16_are_seen(tmp_path: Path, settings: Settings) -> None:
    folder = component(tmp_path / "a", **{"requirements.txt": "numpy\r\n".encode("utf-16")})
    assert "needs_pip='yes'" in recipe_of(folder, settings).text


def test_a_dockerfile_of_its_own_is_respected(tmp_path: Path, settings: Settings) -> None:
    folder = component(
        tmp_path / "a", Dockerfile="FROM x:1\nCOPY . /app\n", **{".dockerignore": "Dockerfile\n*.md", "a.md": ""}
    )
    recipe = recipe_of(folder, settings)
    assert recipe.own
    assert recipe.bases == ("x:1",)
    members, dockerfile = list_members(recipe, {"x:1": "x@2"}, {}, ("first=1", "last=2"))
    by_name = {member.name: member.source for member in members}
    assert by_name[dockerfile] == b"FROM x@2\nLABEL first=1\nCOPY . /app\nLABEL last=2\n"
    assert by_name[".dockerignore"] == b"Dockerfile\n*.md\n.autopipe-dockerfile\n"
    assert set(by_name) == {"main.py", ".dockerignore", dockerfile}


def test_the_template_has_all_that_it_copies(tmp_path: Path, settings: Settings) -> None:
    folder = component(tmp_path / "a", **{"requirements.txt": "numpy", ".dockerignore": "requirements.txt"})
    clip = tmp_path / "clip.mp4"
    clip.write_text("clip")
    recipe = recipe_of(folder, settings, {"clip.mp4": clip})
    members, dockerfile = list_members(recipe, {recipe.bases[0]: "base@sha256:1"}, {}, ("a=1", "b=2"))
    by_name = {member.name: member.source for member in members}
    assert b"FROM base@sha256:1\nLABEL a=1\n" in by_name[dockerfile]  # type: ignore[operator]
    names = {"component/main.py", "component/requirements.txt", "stub/aisprint/__init__.py", "media/clip.mp4"}
    assert names <= set(by_name)


# --- Keys ---


def key_of(folder: Path, settings: Settings, *, base: str = "d1", platform: str = "linux/amd64", **more: Any) -> str:
    recipe = recipe_of(folder, settings)
    with SumMemory(settings.cache_dir) as memory:
        files = component_sum("it", folder, memory)
    args = used_args(recipe, settings.build_args)
    return component_key(recipe, files, [base], platform, build_args=args, media=more.get("media", {}))


def test_keys_follow_content_and_nothing_else(tmp_path: Path, settings: Settings) -> None:
    folder = component(tmp_path / "a", **{"requirements.txt": "numpy\n"})
    key = key_of(folder, settings)
    again = component(tmp_path / "else" / "where", **{"requirements.txt": "numpy\n"})
    os.utime(again / "main.py", (5, 5))
    (again / "main.py").chmod(0o640)
    (again / "__pycache__").mkdir()
    (again / "__pycache__" / "main.pyc").touch()
    assert key_of(again, settings) == key
    assert key_of(again, make_settings(tmp_path, REGISTRY="x.y", BUILD_JOBS="3", HTTP_PROXY="http://x")) == key
    others = {
        "base": key_of(folder, settings, base="d2"),
        "platform": key_of(folder, settings, platform="linux/arm64"),
        "argument": key_of(folder, make_settings(tmp_path, BUILD_ARGS="A=1")),
        "its value": key_of(folder, make_settings(tmp_path, BUILD_ARGS="A=2")),
        "media": key_of(folder, settings, media={"clip.mp4": "1"}),
    }
    for name, content in {"requirements.sys": "ffmpeg", "requirements.txt": "numpy==1", "main.py": "pass # x"}.items():
        changed = component(tmp_path / f"changed-{name}", **{"requirements.txt": "numpy\n", name: content})
        others[name] = key_of(changed, settings)
    changed = component(tmp_path / "executable", **{"requirements.txt": "numpy\n"})
    (changed / "main.py").chmod(0o755)
    others["executable"] = key_of(changed, settings)
    assert len({key, *others.values()}) == len(others) + 1


def test_only_declared_arguments_count_for_a_dockerfile(tmp_path: Path, settings: Settings) -> None:
    folder = component(tmp_path / "a", Dockerfile="ARG V=1\nFROM x:$V\nARG W\n")
    key = key_of(folder, settings)
    assert key_of(folder, make_settings(tmp_path, BUILD_ARGS="OTHER=1")) == key
    assert key_of(folder, make_settings(tmp_path, BUILD_ARGS="W=1")) != key


def test_requirements_count_though_they_are_ignored(tmp_path: Path, settings: Settings) -> None:
    keys = {
        key_of(component(tmp_path / text, **{"requirements.txt": text, ".dockerignore": "requirements.txt"}), settings)
        for text in ("numpy", "scipy")
    }
    assert len(keys) == 2


# --- Logins ---


def config(tmp_path: Path, **content: Any) -> None:
    (tmp_path / "docker").mkdir(exist_ok=True)
    (tmp_path / "docker" / "config.json").write_text(json.dumps(content))


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    program = tmp_path / "bin" / f"docker-credential-{name}"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_the_settings_come_first(tmp_path: Path) -> None:
    config(tmp_path, auths={"reg.example": auth("other:else")})
    settings = make_settings(tmp_path, REGISTRY="reg.example", REGISTER_USERNAME="me", REGISTER_PASSWORD=" pa:ss ")
    login = find_push_login(settings)
    assert login is not None
    assert login.auth_config == {"username": "me", "password": " pa:ss ", "serveraddress": "reg.example"}
    assert "pa:ss" not in repr(login)
    assert find_login("docker.io", settings) is None


@pytest.mark.parametrize("name", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_a_login_to_docker_hub_is_found(tmp_path: Path, name: str) -> None:
    config(tmp_path, auths={name: auth("me:pa:ss")})
    login = find_login("docker.io", make_settings(tmp_path))
    assert login is not None
    assert (login.username, login.password) == ("me", "pa:ss")
    assert choose_place(make_settings(tmp_path), login, push=True).namespace == "me"


@pytest.mark.parametrize(
    "content", [{}, {"auths": {}}, {"auths": {"x.y": {}}}, {"auths": []}, {"auths": {"x.y": {"auth": "!"}}}, [], "x"]
)
def test_no_login_is_none(tmp_path: Path, content: Any) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(json.dumps(content))
    assert find_login("x.y", make_settings(tmp_path)) is None


def test_an_identity_token_is_taken(tmp_path: Path) -> None:
    config(tmp_path, auths={"https://x.y/v2/": {**auth("00000000:"), "identitytoken": "tok"}})
    login = find_login("x.y", make_settings(tmp_path))
    assert login is not None
    assert login.auth_config == {"identitytoken": "tok", "serveraddress": "x.y"}


def test_helpers_are_asked_on_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f'read -r host; echo "$1 $host" >> {tmp_path}/asked; echo \'{{"Username": "me", "Secret": "s3cret"}}\''
    helper(tmp_path, monkeypatch, "one", script)
    helper(tmp_path, monkeypatch, "two", script.replace('"me"', '"<token>"'))
    config(tmp_path, credsStore="one", credHelpers={"a.example": "two"})
    settings = make_settings(tmp_path)
    hub, other = find_login("docker.io", settings), find_login("a.example", settings)
    assert hub is not None
    assert other is not None
    assert (hub.password, other.token) == ("s3cret", "s3cret")
    assert (tmp_path / "asked").read_text() == "get https://index.docker.io/v1/\nget a.example\n"


@pytest.mark.parametrize(
    ("script", "warned"),
    [
        ("echo credentials not found in native keychain; exit 1", False),
        ("echo locked; exit 1", True),
        ("echo {}", True),
    ],
)
def test_a_helper_without_an_answer_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, script: str, warned: bool
) -> None:
    name = hashlib.sha256(script.encode()).hexdigest()[:8]  # answers are remembered by name
    helper(tmp_path, monkeypatch, name, script)
    config(tmp_path, credsStore=name, auths={"x.y": auth("a:b")})
    login = find_login("x.y", make_settings(tmp_path))
    assert login is not None
    assert login.username == "a"
    assert bool(caplog.records) == warned


def test_half_a_login_is_told_before_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="REGISTER_PASSWORD"):
        find_push_login(make_settings(tmp_path, REGISTER_USERNAME="me"))
    config(tmp_path, auths={"docker.io": auth("me:x")})
    login = find_push_login(make_settings(tmp_path, REGISTER_USERNAME="me"))
    assert login is not None
    with pytest.raises(ConfigError):
        find_push_login(make_settings(tmp_path, REGISTER_USERNAME="you"))


# --- Places ---


def test_places_of_images(tmp_path: Path) -> None:
    def place(environ: dict[str, str], *, push: bool = True) -> str:
        settings = make_settings(tmp_path, **environ)
        return choose_place(settings, find_login(settings.registry, settings), push=push).name("My_Part", "k").text

    mine = {"REGISTER_USERNAME": "me", "REGISTER_PASSWORD": "x"}
    assert place(mine) == "docker.io/me/my-part:k"
    assert place({"REGISTRY_NAMESPACE": "we/all", **mine}) == "docker.io/we/all/my-part:k"
    assert place({"REGISTRY": "r:5", **mine}) == "r:5/me/my-part:k"
    assert (
        place({"REGISTRY": "r:5", "REGISTER_USERNAME": "_json_key", "REGISTER_PASSWORD": "x"})
        == "r:5/autopipe/my-part:k"
    )
    assert place({"REGISTRY": "r:5"}) == "r:5/autopipe/my-part:k"
    assert place({}, push=False) == "autopipe.local/my-part:k"
    with pytest.raises(ConfigError) as caught:
        place({})
    assert "REGISTER_USERNAME" in caught.value.hint


# --- Who uses an image ---


def dag_at(path: Path) -> Dag:
    path.touch()
    return Dag(path=path, name="x", components=(), edges=())


def test_notes_of_use(tmp_path: Path, settings: Settings) -> None:
    one, other = dag_at(tmp_path / "one.yaml"), dag_at(tmp_path / "other.yaml")
    key, old = "a" * 64, "b" * 64
    note_use(one, {key, old}, settings)
    note_use(other, {key}, settings)
    assert is_used(old, settings)
    note_use(one, {key}, settings)
    assert not is_used(old, settings)
    one.path.unlink()
    assert is_used(key, settings)
    other.path.unlink()
    assert not is_used(key, settings)


def test_a_run_holds_its_images_while_it_goes_on_and_while_it_is_kept(tmp_path: Path, settings: Settings) -> None:
    dag, run, key = dag_at(tmp_path / "dag.yaml"), tmp_path / "run", "a" * 64
    run.mkdir()
    with hold_images(dag, [key], settings, run=run):
        note_use(dag, set(), settings)  # another start of the DAG needs it no more
        dag.path.unlink()
        run.rename(tmp_path / "gone")
        assert is_held(key, settings)
        assert is_used(key, settings)
    assert not is_held(key, settings)
    (tmp_path / "gone").rename(run)
    assert is_used(key, settings)
    run.rmdir()
    assert not is_used(key, settings)


def test_the_last_image_made_for_a_key_is_the_last_noted(settings: Settings) -> None:
    for image in ("1", "2", "1", "1"):
        note_built("k", image, settings)
    assert built_ids("k", settings) == ["1", "2", "1"]
    assert built_ids("other", settings) == []


# --- Where the engine is ---


def test_the_variable_comes_first(tmp_path: Path) -> None:
    config(tmp_path, currentContext="colima")
    engine = find_engine(make_settings(tmp_path, DOCKER_HOST="tcp://h:2376", DOCKER_TLS_VERIFY="1"))
    assert engine is not None
    assert (engine.host, engine.certificates) == ("tcp://h:2376", tmp_path / "docker")


@pytest.mark.parametrize("by_variable", [True, False])
def test_then_the_context(tmp_path: Path, by_variable: bool) -> None:
    digest = hashlib.sha256(b"colima").hexdigest()
    meta = tmp_path / "docker" / "contexts" / "meta" / digest / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": "unix:///home/me/.colima/docker.sock", "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": "colima", "Endpoints": {"docker": endpoint}}))
    tls = tmp_path / "docker" / "contexts" / "tls" / digest / "docker"
    tls.mkdir(parents=True)
    config(tmp_path, **({} if by_variable else {"currentContext": "colima"}))
    engine = find_engine(make_settings(tmp_path, **({"DOCKER_CONTEXT": "colima"} if by_variable else {})))
    assert engine is not None
    assert (engine.host, engine.certificates, engine.verify) == (endpoint["Host"], tls, True)
    assert "colima" in engine.source


def test_a_context_that_is_gone_is_told(tmp_path: Path) -> None:
    config(tmp_path, currentContext="gone")
    with pytest.raises(ImageError, match="gone"):
        find_engine(make_settings(tmp_path))


def test_then_the_usual_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets: set[Path] = set()
    monkeypatch.setattr(Path, "is_socket", lambda path: path in sockets)
    monkeypatch.setattr(os, "access", lambda path, mode: "var" not in str(path))
    settings = make_settings(tmp_path, XDG_RUNTIME_DIR="/run/user/1")
    assert find_engine(settings) is None
    for socket, found in (
        ("/run/podman/podman.sock", "/run/podman/podman.sock"),
        ("/run/user/1/podman/podman.sock", "/run/user/1/podman/podman.sock"),
        ("/run/user/1/docker.sock", "/run/user/1/docker.sock"),
        ("/var/run/docker.sock", "/run/user/1/docker.sock"),  # there, but not for us
    ):
        sockets.add(Path(socket))
        engine = find_engine(settings)
        assert engine is not None
        assert engine.socket == Path(found)


# --- Pushes side by side ---


def test_nobody_sends_a_layer_that_is_on_its_way() -> None:
    lanes, order = Lanes(), queue.SimpleQueue[str]()
    first_may_end = threading.Event()

    def push(name: str, layers: list[str], wait: threading.Event | None = None) -> None:
        with lanes.use(layers):
            order.put(f"{name} begins")
            if wait:
                assert wait.wait(20)
            order.put(f"{name} ends")

    first = threading.Thread(target=push, args=("first", ["base", "a"], first_may_end))
    first.start()
    assert order.get(timeout=20) == "first begins"
    second = threading.Thread(target=push, args=("second", ["base", "b"]))
    other = threading.Thread(target=push, args=("other", ["c"]))
    second.start()
    other.start()
    assert [order.get(timeout=20) for _ in range(2)] == ["other begins", "other ends"]
    first_may_end.set()
    assert [order.get(timeout=20) for _ in range(3)] == ["first ends", "second begins", "second ends"]
    third, fourth = threading.Event(), threading.Event()
    threads = [
        threading.Thread(target=push, args=(name, ["base", name], wait)) for name, wait in (("3", third), ("4", fourth))
    ]
    for thread in threads:
        thread.start()
    assert {order.get(timeout=20) for _ in range(2)} == {"3 begins", "4 begins"}  # what has arrived is in nobody's way
    third.set()
    fourth.set()
    for thread in (first, second, other, *threads):
        thread.join(20)


def test_a_push_that_fails_lets_the_next_try() -> None:
    lanes = Lanes()
    with pytest.raises(KeyError), lanes.use(["base"]):
        raise KeyError
    with lanes.use(["base"]) as finish:
        finish()
        with lanes.use(["base"]):  # it said that it is done with that
            pass
    with lanes.use(["other"]):
        lanes.close()
        with lanes.use(["other"]):  # closed: nobody waits any more
            pass
