"""What only containers have: limits, users, images of all kinds, and an engine that others use too."""

import contextlib
import dataclasses
import functools
import os
import re
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from src.containers import calls, dock
from src.containers.leftovers import container_labels
from src.containers.request import container_request
from src.engine import open_engine
from src.image.usage import BUILDER, builder_of
from src.settings import load_settings
from tests.integration.on_targets import BASE, TargetProject, client, docked, ours, users_own
from tests.integration.test_targets import WAITS, read_until, steps_of
from tests.support import contents, read_record

__all__ = ["client", "docked"]

Client = docker.DockerClient

HOLDS = WAITS.replace("*a_3*", "*")
"""A script that waits until there is a file `gate` in the run's folder."""


def write_dockerfile(project: TargetProject, name: str, text: str, files: dict[str, str] | None = None) -> None:
    folder = project.component(name, project.scripts.get(name, 'cp "$in" "$out"'), files)
    (folder / "Dockerfile").write_text(text)


@contextlib.contextmanager
def held(
    project: TargetProject, client: Client, *, gate: bool = True, **options: Any
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run a step that waits; give its container and the program; then, with gate, the run ends well."""
    project.media()
    project.component("a", HOLDS)
    project.write("a", options={"a": options})
    with project.start("-v") as process:
        try:
            read_until(process, "waits")
            (one,) = ours(client, project.folder)
            yield one["Id"], process
            if gate:
                (project.runs()[-1] / "gate").touch()
                _, err = process.communicate()
                assert process.returncode == 0, err.decode()
        finally:
            process.terminate()


# --- Memory ---

EATS = "python3 -c 'x = bytearray(256 << 20)'"


@pytest.mark.parametrize(
    ("script", "message", "status"),
    [
        (f"exec {EATS}", "ran out of memory: it was ended by the kernel", 137),
        (f"{EATS} || exit 4", "ran out of memory: it exited with status 4 when a process of it was ended", 4),
        (f'{EATS} || true; cp "$in" "$out"', "ran out of memory: it exited with status 0 when a process of it", 0),
    ],
)
def test_a_component_that_takes_too_much_memory(docked: TargetProject, script: str, message: str, status: int) -> None:
    docked.media()
    docked.component("a", script)
    docked.write("a", options={"a": {"memory": "64Mi"}})
    outcome = docked.fail(5)
    assert outcome.errors[0].startswith(f"error: step a: {message}")
    assert "raise its option `memory`" in outcome.errors[-1]
    (run,) = docked.runs()
    assert [one["exit"] for one in steps_of(run)["a"]["invocations"]] == [status]


def test_enough_memory_is_enough(docked: TargetProject) -> None:
    docked.media()
    docked.component("a", f'{EATS} && cp "$in" "$out"')
    docked.write("a", options={"a": {"memory": "512Mi", "cpu": 0.5}})
    assert contents(docked.succeed().folder / "a") == {"a": b"media"}


def test_memory_that_is_not_enough_to_start(docked: TargetProject) -> None:
    docked.media()
    docked.component("a")
    docked.write("a", options={"a": {"memory": "6Mi"}})
    outcome = docked.fail(5)
    assert "memory" in outcome.errors[0]
    assert "raise its option `memory`" in outcome.errors[-1]


# --- What the engine is asked for ---


def test_the_container_of_a_step(docked: TargetProject, client: Client) -> None:
    with held(docked, client, cpu=1.5, memory="1Gi", env={"TOKEN": "only in plan.json"}, args=["{{x}}"]) as (one, _):
        found = client.api.inspect_container(one)
        (run,) = docked.runs()
    host, config = found["HostConfig"], found["Config"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (1 << 30, 1 << 30, 1_500_000_000)
    assert (host["CapDrop"], host["Privileged"], host["AutoRemove"]) == (["ALL"], False, False)
    assert "no-new-privileges" in host["SecurityOpt"]
    assert [(mount["Type"], mount["Source"], mount["Destination"]) for mount in found["Mounts"]] == [
        ("bind", str(run), "/mnt/data")
    ]
    assert config["User"] == f"{os.getuid()}:{os.getgid()}"
    assert (config["Cmd"], config["WorkingDir"]) == (["a"], "/component")
    assert not any("TOKEN" in word or "{{x}}" in word for word in [*config["Env"], *config["Entrypoint"]])
    assert {name: config["Labels"][f"autopipe.{name}"] for name in ("run", "dag", "task", "folder")} == {
        "run": run.name,
        "dag": "app",
        "task": "a",
        "folder": str(run),
    }


def test_more_processors_than_there_are(docked: TargetProject) -> None:
    docked.media()
    docked.component("a")
    docked.write("a", options={"a": {"cpu": 4096}})
    assert "a asks for 4096 processors, this engine has" in docked.succeed().err


def test_an_engine_without_gpu(docked: TargetProject) -> None:
    docked.media()
    docked.component("a")
    docked.write("a", options={"a": {"gpu": 1}})
    outcome = docked.fail(5)
    assert outcome.errors[0] == "error: step a: the engine has no GPU for it"
    assert "NVIDIA Container Toolkit" in outcome.errors[-1]


# --- Images ---

OWN = f"FROM {BASE}\nWORKDIR /own\nCOPY . .\n"


@pytest.mark.parametrize(
    "more",
    [
        'ENTRYPOINT ["false"]',
        "USER 12345:12345",
        "HEALTHCHECK --interval=1s CMD false",
        "VOLUME /mnt/data\nVOLUME /own/more",
        "STOPSIGNAL SIGKILL",
        "ENV PYTHONPATH=/own/evil PYTHONSTARTUP=/own/evil/json.py",
        "RUN rm -f /usr/bin/python",
    ],
)
def test_an_image_of_any_kind(docked: TargetProject, client: Client, more: str) -> None:
    volumes = {volume.name for volume in client.volumes.list()}
    docked.media()
    write_dockerfile(docked, "a", f"{OWN}{more}\n", {"evil/json.py": "raise SystemExit(77)\n"})
    docked.write("a")
    assert contents(docked.succeed().folder / "a") == {"a": b"media"}
    assert {volume.name for volume in client.volumes.list()} <= volumes


def test_the_image_s_variables_are_the_component_s(docked: TargetProject) -> None:
    docked.media()
    docked.component("a", 'echo "$MODE" > "$out"; python3 -c "import extra" >> "$out"')
    write_dockerfile(docked, "a", f"{OWN}ENV MODE=fast PYTHONPATH=/own/lib\n", {"lib/extra.py": "print('found')\n"})
    docked.write("a")
    assert contents(docked.succeed().folder / "a") == {"a": b"fast\nfound\n"}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("FROM autopipe.test/busybox:1\nWORKDIR /own\nCOPY . .\n", "its image has no python3", "3.8 or newer"),
        (f"FROM {BASE}\nCOPY . .\n", "its image has no working directory", "WORKDIR"),
        (f"{OWN}RUN printf '\\177ELF' > /usr/bin/python3\n", "its image is for another kind of processor", "PLATFORM"),
    ],
)
def test_an_image_that_cannot_run(docked: TargetProject, text: str, message: str, hint: str) -> None:
    docked.media()
    write_dockerfile(docked, "a", text)
    docked.component("good")
    docked.write(["a", "good"])
    outcome = docked.fail(5)
    assert outcome.errors[0] == f"error: step a: {message}"
    assert hint in outcome.errors[-1]
    (run,) = docked.runs()
    assert {name: step["state"] for name, step in steps_of(run).items()} == {
        "save-media": "done",
        "a": "failed",
        "good": "done",
    }


# --- Whose files they are ---


@pytest.fixture
def elsewhere(client: Client) -> Iterator[Path]:
    """A folder that every user may enter; images that were made with its cache are removed."""
    folder = Path(tempfile.mkdtemp(prefix="autopipe-test-"))
    folder.chmod(0o755)
    yield folder
    settings = dataclasses.replace(load_settings(None, os.environ), cache_dir=folder / "cache")
    for image in client.api.images(filters={"label": f"{BUILDER}={builder_of(settings)}"}):
        client.api.remove_image(image["Id"], force=True)
    shutil.rmtree(folder)


def as_user(uid: int, gid: int, act: Callable[[], object]) -> int:
    """Act as another user, who may use the engine, in a process forked from this one; return its status."""
    socket = Path(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))
    group = socket.stat().st_gid
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([group])
            os.setgid(gid)
            os.setuid(uid)
            act()
            status = 0
        except BaseException:  # noqa: BLE001  # nothing of the parent's is to run in the child
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_files_belong_to_who_runs_the_tool(
    docked: TargetProject, client: Client, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid, gid = 4321, 8765
    project = TargetProject(elsewhere / "project", "docker")
    project.media()
    project.component("a", 'id -u > "$out"; id -g >> "$out"; touch "$HOME/x" "$TMPDIR/x" ./x "$(dirname "$in")/x"')
    project.component("b", 'cat "$in" > "$out"; echo x > "${out}_2"')
    project.write("ab", [["a", "b"]])
    for folder, _, names in os.walk(elsewhere):
        for name in ("", *names):
            os.chown(Path(folder) / name, uid, gid)
    monkeypatch.setenv("CACHE_DIR", str(elsewhere / "cache"))
    docked.media()
    docked.component("a")
    docked.write("a")
    docked.succeed()  # all that is to be imported is: the other user may have no way to this Python
    shutil.rmtree(elsewhere / "cache")
    status = as_user(uid, gid, lambda: project.succeed())
    assert status == 0
    (run,) = project.runs()
    assert contents(run / "b") == {"b": f"{uid}\n{gid}\n".encode(), "b_2": b"x\n"}
    found = [Path(folder) / name for folder, folders, names in os.walk(project.output) for name in (*folders, *names)]
    assert [path for path in found if (path.lstat().st_uid, path.lstat().st_gid) != (uid, gid)] == []
    assert ours(client, project.folder) == []


# --- Others at work in the engine ---


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("kill", "its container was killed by SIGKILL"),
        ("stop", "its container was stopped from outside"),
        # It is killed first, and may be seen between the two.
        ("remove", "its container was (removed from outside|killed by SIGKILL)"),
    ],
)
def test_a_container_that_somebody_ends(docked: TargetProject, client: Client, how: str, message: str) -> None:
    with held(docked, client, gate=False) as (one, process):
        container = client.containers.get(one)
        {"kill": container.kill, "stop": container.stop, "remove": lambda: container.remove(force=True)}[how]()
        _, err = process.communicate()
    assert process.returncode == 5, err.decode()
    assert re.search(rf"^error: step a: {message}$", err.decode(), re.MULTILINE), err.decode()
    (run,) = docked.runs()
    assert steps_of(run)["a"]["state"] == "failed"
    docked.component("a")
    docked.write("a")
    assert docked.succeed().ran == {"a": 1}


def test_containers_of_dead_runs_are_removed_and_no_others(
    docked: TargetProject, client: Client, tmp_path: Path
) -> None:
    gone = container_labels(run_id="20200101-000000-dead", dag="old", folder=tmp_path / "gone", task="a")
    stranger = {**gone, "autopipe.owner": "0@another-machine"}
    kept = client.containers.create(BASE, ["true"], labels=stranger)
    try:
        dead = client.containers.run(BASE, ["sleep", "3600"], labels=gone, detach=True)
        other = TargetProject(tmp_path / "other", "docker")
        with users_own(client), held(other, client) as (beside, _):
            with pytest.raises(docker.errors.NotFound):
                dead.reload()
            dead = client.containers.run(BASE, ["sleep", "3600"], labels=gone, detach=True)
            docked.media()
            docked.component("a")
            docked.write("a")
            docked.succeed()
            with pytest.raises(docker.errors.NotFound):
                dead.reload()
            assert client.containers.get(beside).status == "running"
            kept.reload()
            assert kept.status == "created"
    finally:
        kept.remove()


# --- Nothing in vain ---


def test_no_container_is_made_where_nothing_is_left_to_run(
    docked: TargetProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        docked.media(str(number), f"{number}.txt")
    docked.component("a", 'case ${in##*/} in *1*) ;; *) cp "$in" "$out";; esac')
    docked.component("b")
    docked.write("ab", [["a", "b", 0.5]], options={"a": {"shards": 2}})
    first = docked.succeed()
    made: list[str] = []
    create = calls.Calls.create

    def note(self: calls.Calls, name: str, request: dict[str, Any]) -> list[str]:
        made.append(name)
        return create(self, name, request)

    monkeypatch.setattr(calls.Calls, "create", note)
    again = docked.succeed()
    assert (again.ran, made) == ({}, [])
    assert contents(again.folder / "b") == contents(first.folder / "b")
    docked.write("ab", [["a", "b", 0.5]], options={"a": {"shards": 2}, "b": {"args": ["x"]}})
    assert docked.succeed().ran == {"b": 2}
    assert len(made) == 1


def test_docker_and_process_take_nothing_from_each_other(docked: TargetProject) -> None:
    docked.media()
    docked.component("a")
    docked.write("a")
    docked.succeed()
    docked.target = "process"
    assert docked.succeed().ran == {"a": 1}
    docked.target = "docker"
    assert docked.succeed().ran == {}


# --- Many, long ---


def test_of_many_containers_that_fail_none_is_reported_as_fine(docked: TargetProject, full: bool) -> None:
    count = 1000 if full else 30
    docked.media()
    names = [f"c{number}" for number in range(count)]
    real = docked.component("c0", "exit 3")
    for name in names[1:]:
        docked.scripts[name] = "exit 3"
        (docked.folder / "components" / name).symlink_to(real.name)
    docked.write(names)
    outcome = docked.fail(5)
    (run,) = docked.runs()
    steps = steps_of(run)
    told = [(steps[name]["state"], [one["exit"] for one in steps[name]["invocations"]]) for name in names]
    assert [one for one in told if one != ("failed", [3])] == []
    assert len(outcome.errors) < 60


def test_a_step_may_take_longer_than_the_engine_may_be_silent(
    docked: TargetProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.targets.docker.open_engine", functools.partial(open_engine, patience=2))
    docked.media()
    docked.component("a", 'sleep 4; cp "$in" "$out"')
    docked.write("a")
    assert contents(docked.succeed().folder / "a") == {"a": b"media"}


# --- What is refused ---


def test_secrets_come_from_the_environment(docked: TargetProject, monkeypatch: pytest.MonkeyPatch) -> None:
    docked.media()
    docked.component("a", 'printf %s "$API_KEY" > "$out"')
    docked.write("a", options={"a": {"secrets": {"API_KEY": "my-secret/key"}}})
    outcome = docked.fail(2)
    assert outcome.errors[0] == "error: a needs API_KEY, on a cluster the key key of secret my-secret"
    assert "set API_KEY in the environment" in outcome.errors[-1]
    assert docked.runs() == []
    monkeypatch.setenv("API_KEY", "p'a\"s $x")
    folder = docked.succeed().folder
    assert contents(folder / "a") == {"a": b"p'a\"s $x"}
    kept = [path for path in docked.folder.rglob("*") if path.is_file() and b"p'a\"s" in path.read_bytes()]
    assert {path.name for path in kept} == {"a"}  # its output, in the run and in the store


@pytest.mark.parametrize("host", ["ssh://build@192.0.2.7", "tcp://192.0.2.7:2376", "tcp://builder.invalid:2375"])
def test_an_engine_on_another_machine(docked: TargetProject, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    docked.media()
    docked.component("a")
    docked.write("a")
    outcome = docked.fail(2)
    assert host in outcome.errors[0]
    assert "--target process" in outcome.errors[-1]


def test_an_engine_that_is_down(docked: TargetProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    docked.media()
    docked.component("a")
    docked.write("a")
    for target in ("docker", "auto"):  # it was set up: that it is down is no reason to run elsewhere
        docked.target = target
        outcome = docked.fail(4)
        assert "no Docker engine answers" in outcome.errors[0]
    docked.target = "process"
    docked.succeed()


def test_a_folder_that_the_engine_does_not_see(docked: TargetProject, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(**words: Any) -> dict[str, Any]:
        request = container_request(**words)
        request["HostConfig"]["Mounts"][0]["Source"] += "-elsewhere"
        return request

    monkeypatch.setattr(dock, "container_request", elsewhere)
    docked.media()
    docked.component("a")
    docked.write("a")
    outcome = docked.fail(2)
    assert "does not see the run's folder" in outcome.errors[0]
    assert "--output DIR" in outcome.errors[-1]
    (run,) = docked.runs()
    assert read_record(run)["state"] == "failed"
