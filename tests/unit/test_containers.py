"""What is asked of an engine for a container, and what its end means."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from src.containers import calls, watch
from src.containers.ending import end_of_journal, end_of_refusal, end_of_state
from src.containers.growing import Growing, GrowingJournal
from src.containers.leftovers import container_labels
from src.containers.request import container_request
from src.containers.traits import read_traits
from src.dag import Options
from src.errors import ConfigError, ImageError
from src.settings import Settings
from src.step import Cancel, SharedSlots
from src.targets import choose_target

ROOTFUL = {"SecurityOptions": ["name=seccomp,profile=default"], "NCPU": 4, "MemTotal": 8 << 30}


def request(options: Options | None = None, **info: Any) -> dict[str, Any]:
    return container_request(
        image="sha256:abc",
        volume=Path("/out put/app/run:1"),
        task="a@1",
        options=options or Options(),
        traits=read_traits({**ROOTFUL, **info}, 1234, 56),
        environ={"B": "2", "A": "x y"},
        labels={"autopipe.run": "1"},
    )


def test_a_container_is_confined_and_sees_one_folder() -> None:
    found = request()
    host = found["HostConfig"]
    assert found["Entrypoint"][0] == "python3"
    assert "'/mnt/data/.autopipe'" in found["Entrypoint"][-1]
    assert (found["Cmd"], found["User"], found["Env"]) == (["a@1"], "1234:56", ["A=x y", "B=2"])
    assert host["Mounts"] == [{"Type": "bind", "Source": "/out put/app/run:1", "Target": "/mnt/data"}]
    assert (host["CapDrop"], host["SecurityOpt"], host["UsernsMode"]) == (["ALL"], ["no-new-privileges"], "")
    assert not {"Memory", "NanoCpus", "DeviceRequests", "AutoRemove", "Privileged"} & set(host)


@pytest.mark.parametrize(
    ("words", "user", "userns", "security"),
    [
        (["name=rootless", "name=cgroupns"], "0:0", "", ["no-new-privileges"]),
        (["name=userns"], "1234:56", "host", ["no-new-privileges"]),
        (["name=selinux"], "1234:56", "", ["no-new-privileges", "label=disable"]),
        (["name=seccomp,profile=builtin", "name=rootless"], "0:0", "", ["no-new-privileges"]),
    ],
)
def test_files_are_the_user_s_whatever_the_engine_makes_of_users(
    words: list[str], user: str, userns: str, security: list[str]
) -> None:
    found = request(SecurityOptions=words)
    assert (found["User"], found["HostConfig"]["UsernsMode"], found["HostConfig"]["SecurityOpt"]) == (
        user,
        userns,
        security,
    )


@pytest.mark.parametrize(
    ("options", "info", "limits"),
    [
        (Options(memory=1 << 30), {}, {"Memory": 1 << 30, "MemorySwap": 1 << 30, "ShmSize": 1 << 30}),
        (Options(memory=1 << 30), {"SwapLimit": False}, {"Memory": 1 << 30, "ShmSize": 1 << 30}),
        (Options(memory=1 << 30), {"MemoryLimit": False}, {"ShmSize": 4 << 30}),
        (Options(cpu=1.5), {}, {"NanoCpus": 1_500_000_000, "ShmSize": 4 << 30}),
        (Options(cpu=64), {}, {"NanoCpus": 4_000_000_000, "ShmSize": 4 << 30}),
        (Options(cpu=0.001), {}, {"NanoCpus": 10_000_000, "ShmSize": 4 << 30}),
        (Options(cpu=1.5), {"CpuCfsQuota": False}, {"ShmSize": 4 << 30}),
        (Options(gpu=2), {}, {"DeviceRequests": [{"Count": 2, "Capabilities": [["gpu"]]}], "ShmSize": 4 << 30}),
    ],
)
def test_limits(options: Options, info: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
    names = ("Memory", "MemorySwap", "NanoCpus", "DeviceRequests", "ShmSize")
    found = request(options, **info)["HostConfig"]
    assert {name: found[name] for name in names if name in found} == limits


# --- Ends ---

START = {"event": "start", "time": 1.0, "run": "r"}
DONE = {"event": "end", "state": "done"}
STOPPED = {"event": "end", "state": "failed", "message": "interrupted", "hint": ""}


def test_the_journal_has_the_last_word() -> None:
    assert end_of_journal([], cancelled=False) is None
    assert end_of_journal([START], cancelled=False) is None
    assert end_of_journal([START, DONE], cancelled=False) == DONE
    assert end_of_journal([START, STOPPED], cancelled=True) == STOPPED
    told = end_of_journal([START, STOPPED], cancelled=False)
    assert told is not None
    assert told["message"] == "its container was stopped from outside"


@pytest.mark.parametrize(
    ("state", "tail", "message", "hint", "status"),
    [
        (None, [], "removed from outside", "same command", None),
        ({"Status": "removing", "ExitCode": 137}, [], "removed from outside", "same command", None),
        ({"ExitCode": 137, "OOMKilled": True}, [], "ran out of memory (64 MiB)", "`memory`", 137),
        ({"ExitCode": 137}, [], "killed by SIGKILL", "somebody killed it", 137),
        ({"ExitCode": 1}, ["x", "OSError: Read-only file system: 'y'"], "cannot write to the run's", "--output", 1),
        ({"ExitCode": 1}, ["ModuleNotFoundError: No module named 'step'"], "sees another folder", "--output", 1),
        ({"ExitCode": 1}, ["PermissionError: [Errno 13] Permission denied"], "cannot write to the", "--output", 1),
        ({"ExitCode": 1}, ["exec /usr/bin/python3: exec format error"], "another kind of processor", "PLATFORM", None),
        ({"ExitCode": 0}, [], "exited with status 0 before the launcher", "tries again", 0),
        ({"ExitCode": 2}, ["SyntaxError"], "exited with status 2 before the launcher", "tries again", 2),
        ({"ExitCode": 127, "Error": 'exec: "python3": executable file not found'}, [], "no python3", "3.8", None),
    ],
)
def test_what_the_engine_knows_of_an_end(
    state: Mapping[str, Any] | None, tail: list[str], message: str, hint: str, status: int | None
) -> None:
    end = end_of_state(state, tail, 64 << 20)
    assert (end["event"], end["state"], end["exit"]) == ("end", "failed", status)
    assert message in end["message"]
    assert hint in end["hint"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "the engine has no GPU for it"),
        ("standard_init_linux.go:228: exec user process caused: exec format error", "its image is for another"),
        ("OCI runtime create failed: container init was OOM-killed (memory limit too low?)", "its `memory` is not"),
        ("mkdir /var/lib/docker/x: no space left on device", "the engine's disk is full"),
        ("No such image: sha256:abc", "its image was removed during the run"),
        ("something new", "the engine would not start its container: something new"),
    ],
)
def test_what_the_engine_refuses(text: str, message: str) -> None:
    end = end_of_refusal(text)
    assert end["message"].startswith(message)
    assert end["hint"]


# --- Files that grow ---


def test_a_file_is_read_from_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before")
    growing = Growing(path)
    assert list(growing.read()) == []
    with path.open("a") as file:
        file.write("after")
        file.flush()
        assert b"".join(growing.read()) == b"after"
        file.write("more")
        file.flush()
        assert b"".join(growing.read()) == b"more"
    missing = Growing(tmp_path / "none")
    assert list(missing.read()) == []
    (tmp_path / "none").write_text("x")
    assert list(missing.read()) == [b"x"]


def test_a_journal_is_read_in_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"event": "old"}) + "\n")
    journal = GrowingJournal(path)
    text = "".join(json.dumps({"event": "invocation", "key": key}) + "\n" for key in "ab") + "\n{torn\n"
    for number in range(0, len(text), 5):
        with path.open("a") as file:
            file.write(text[number : number + 5])
        journal.read()
    assert [record["key"] for record in journal.records] == ["a", "b"]


# --- The end of a run ---


class DeafCalls(calls.Calls):
    """An engine whose containers end for nothing but SIGKILL."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.killed = threading.Event()

    def signal(self, name: str, signal: str) -> bool:
        self.sent.append(signal)
        if signal == "SIGKILL":
            self.killed.set()
        return True


def test_a_container_that_hears_nothing_is_asked_again_and_then_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TICK", 0.01)
    monkeypatch.setattr(watch, "AGAIN", 0.05)
    monkeypatch.setattr(watch, "PATIENCE", 0.3)
    deaf, cancel = DeafCalls(), Cancel()
    looking = watch.Watch(deaf, cancel, None)
    container = watch.Container("x", GrowingJournal(tmp_path / "x.jsonl"), set(), lambda _: None)
    with looking.at_work(), looking.following(container, tmp_path / "x.log"):
        assert not deaf.killed.wait(0.1)
        assert deaf.sent == []
        cancel.set()
        assert deaf.killed.wait(30)
    assert deaf.sent.index("SIGKILL") > 2
    assert set(deaf.sent[: deaf.sent.index("SIGKILL")]) == {"SIGTERM"}


def test_what_containers_have_done_is_told_once_while_they_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TICK", 0.01)
    told: list[str] = []
    heard = threading.Event()
    printed: list[bytes] = []

    def hear(record: Mapping[str, Any]) -> None:
        told.append(record["key"])
        heard.set()

    path = tmp_path / "x.jsonl"
    path.touch()
    looking = watch.Watch(DeafCalls(), Cancel(), printed.append)
    container = watch.Container("x", GrowingJournal(path), {"kept"}, hear)
    with looking.at_work(), looking.following(container, tmp_path / "x.log"):
        lines = [START, *({"event": "invocation", "key": key} for key in ("kept", "first"))]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / "x.log").write_text("printed\n")
        assert heard.wait(30)
        with path.open("a") as file:
            file.write(json.dumps({"event": "invocation", "key": "last"}) + "\n" + json.dumps(DONE) + "\n")
    assert told == ["first", "last"]
    assert b"".join(printed) == b"printed\n"


# --- Labels, targets ---


def test_labels_say_whose_a_container_is() -> None:
    labels = container_labels(run_id="1", dag="app", folder=Path("/out/app/1"), task="a")
    assert labels["autopipe.run"] == "1"
    assert labels["autopipe.folder"] == "/out/app/1"
    assert labels["autopipe.owner"].startswith(f"{os.getuid()}@")


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings(**{"cache_dir": tmp_path, "docker_config": tmp_path, **more})


def test_what_was_asked_for_is_taken(tmp_path: Path) -> None:
    assert choose_target("process", settings(tmp_path, docker_host="unix:///x"), fetched=True)[0] == "process"


def test_an_engine_that_is_set_up_is_taken_whether_it_answers_or_not(tmp_path: Path) -> None:
    target, why = choose_target("auto", settings(tmp_path, docker_host="unix:///nowhere.sock"), fetched=True)
    assert target == "docker"
    assert "DOCKER_HOST" in why
    assert "/nowhere.sock" in why


def test_a_context_that_does_not_exist_is_no_reason_to_run_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="context other"):
        choose_target("auto", settings(tmp_path, docker_context="other"), fetched=False)


def test_a_cluster_is_taken_before_an_engine(tmp_path: Path) -> None:
    found = settings(tmp_path, docker_host="unix:///x", kfp_api_url="https://kfp")
    assert choose_target("auto", found, fetched=True) == ("kubeflow", "KFP_API_URL is set")


def test_code_from_elsewhere_is_run_unconfined_only_when_somebody_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.engine_place.find_engine", lambda _: None)
    assert choose_target("auto", settings(tmp_path), fetched=False)[0] == "process"
    with pytest.raises(ConfigError) as caught:
        choose_target("auto", settings(tmp_path), fetched=True)
    assert "--target process" in caught.value.hint


# --- Slots ---


def slot_files(tmp_path: Path, count: int) -> list[Path]:
    files = [tmp_path / str(number) for number in range(count)]
    for file in files:
        file.touch()
    return files


def test_no_more_hold_a_slot_at_once_than_there_are(tmp_path: Path) -> None:
    files, cancel = slot_files(tmp_path, 2), Cancel()
    lock, met, most, inside = threading.Lock(), threading.Barrier(2, timeout=30), 0, 0

    def work(slots: SharedSlots) -> None:  # each as if in a container of its own
        nonlocal most, inside
        with slots:
            with lock:
                inside += 1
                most = max(most, inside)
            met.wait()  # two at once, or nobody goes on
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work, args=[SharedSlots(files, cancel)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, inside, met.broken) == (2, 0, False)


def test_a_slot_is_free_when_its_holder_dies(tmp_path: Path) -> None:
    (file,) = slot_files(tmp_path, 1)
    hold = "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.flock(file, 2); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        threading.Timer(0.1, holder.kill).start()
        with SharedSlots([file], Cancel()):
            assert holder.wait(30) == -signal.SIGKILL  # not before it was dead


def test_who_waits_for_a_slot_hears_that_the_run_is_over(tmp_path: Path) -> None:
    (file,) = slot_files(tmp_path, 1)
    cancel = Cancel()
    with SharedSlots([file], Cancel()):
        threading.Timer(0.1, cancel.set).start()
        with SharedSlots([file], cancel):
            assert cancel.is_set()
