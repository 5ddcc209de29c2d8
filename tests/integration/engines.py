"""What the tests of images need: the shared engine and registries, private ones to kill, components to build."""

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.dag import parse_dag
from src.image.usage import BUILDER, builder_of
from src.images import Image, build_images, find_images
from src.plan import Plan, make_plan
from src.settings import ROOT, Settings, load_settings

BASE = "autopipe-base:bookworm"
BUSYBOX = "autopipe.test/busybox:1"
PATIENCE = 60
"""Seconds for a daemon to start."""


def need(name: str) -> str:
    """Return a variable that names an engine or registry; a machine without it fails."""
    value = os.environ.get(name)
    assert value, f"the tests of images need {name}: .ci/run sets it"
    return value


def docker(host: str, *words: str, check: bool = True) -> str:
    """Run the docker command against an engine; return what it prints."""
    environ = {**os.environ, "DOCKER_HOST": host, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(["docker", *words], env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not true():
        assert time.monotonic() < end, f"not in time: {what}"
        pause.wait(0.05)


class Daemon:
    """A program of the test's own, started in a session of its own so that it can be ended whole."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.command = command
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process and self.process.poll() is None:
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
            self.process.wait(PATIENCE)
        self.process = None


class Registry(Daemon):
    """A registry of the test's own."""

    def __init__(self, folder: Path, *, password: bool = False) -> None:
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{free.getsockname()[1]}"
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": self.host},
        }
        if password:
            line = subprocess.run(["htpasswd", "-Bbn", "user", "pass-wörd"], capture_output=True, check=True).stdout
            (folder / "htpasswd").write_bytes(line)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(json.dumps(config))
        super().__init__(["docker-registry", "serve", str(folder / "config.yml")], folder / "log")

    def start(self) -> None:
        super().start()
        wait_until(self._answers, "registry")

    def _answers(self) -> bool:
        name, _, port = self.host.partition(":")
        with contextlib.suppress(OSError), socket.create_connection((name, int(port)), 1):
            return True
        return False


@contextlib.contextmanager
def private_registry(folder: Path, *, password: bool = False) -> Iterator[Registry]:
    """Give a registry that may be killed."""
    registry = Registry(folder, password=password)
    registry.start()
    try:
        yield registry
    finally:
        registry.end()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Engine(Daemon):
    """An engine of the test's own; its containers have a network that leads nowhere."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder = folder
        # A bridge of its own: with --bridge=none an engine removes docker0, which is the shared engine's.
        number = int.from_bytes(os.urandom(1), "big")
        self.bridge = f"autopipe-t{number}"
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("address", "add", f"10.213.{number}.1/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        self.host = f"unix://{folder}/socket"
        folder.mkdir()
        places = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/run", "--pidfile", f"{folder}/pid"]
        network = [f"--bridge={self.bridge}", "--iptables=false", "--ip-masq=false"]
        super().__init__(
            ["dockerd", "--host", self.host, *places, *network, "--max-concurrent-uploads=2", *more], folder / "log"
        )

    def start(self) -> None:
        for pid_file in ("pid", "run/containerd/containerd.pid"):  # of one that was killed, and that nobody has reaped
            (self.folder / pid_file).unlink(missing_ok=True)
        super().start()
        wait_until(lambda: bool(docker(self.host, "version", "--format", "{{.Server.Version}}", check=False)), "engine")

    def load(self, *images: str) -> None:
        """Copy images from the shared engine."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as save:
            load = ["docker", "--host", self.host, "load", "--quiet"]
            subprocess.run(load, stdin=save.stdout, check=True, capture_output=True)
        assert save.returncode == 0


@contextlib.contextmanager
def private_engine(folder: Path, *, megabytes: int | None = None, more: Sequence[str] = ()) -> Iterator[Engine]:
    """Give an engine that may be killed, its disk as big as said; folder is short, for its socket's sake."""
    engine = Engine(folder, *more)
    try:
        if megabytes:
            (folder / "data").mkdir()
            size = f"size={megabytes}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder / "data")], check=True)
        engine.start()
        yield engine
    finally:
        engine.end()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{folder}/run/".encode() in (process / "cmdline").read_bytes():  # containers of one that was killed
                    os.kill(int(process.name), signal.SIGKILL)
        _ip("link", "delete", engine.bridge)
        for line in Path("/proc/self/mounts").read_text().splitlines()[::-1]:
            place = line.split()[1]
            if place.startswith(f"{folder}/"):
                subprocess.run(["umount", place], check=False)
        shutil.rmtree(folder, ignore_errors=True)


class Lines(logging.Handler):
    """What the program tells while a test runs; calls what is waiting for a line."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.waiting: list[tuple[str, Callable[[], None]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.texts.append(text)
        for one in [one for one in self.waiting if one[0] in text]:
            self.waiting.remove(one)
            one[1]()

    def when(self, part: str, action: Callable[[], None]) -> None:
        """Do something when a line has a part, once, in the thread that tells it."""
        self.waiting.append((part, action))

    def having(self, part: str) -> list[str]:
        return [text for text in self.texts if part in text]


@dataclass
class Bench:
    """A DAG with components, whose images are made."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    media: list[str] = field(default_factory=list)
    tiny: str = ""  # what save-media is built on in the place of Python, for engines that lack the base image

    def component(self, name: str, files: Mapping[str, str | bytes] | None = None, **options: Any) -> Path:
        """Write a component of Python, or of what its files say."""
        place = self.folder / "components" / name
        for inner, content in {"main.py": f"print({name!r})\n", **(files or {})}.items():
            (place / inner).parent.mkdir(parents=True, exist_ok=True)
            (place / inner).write_bytes(content if isinstance(content, bytes) else content.encode())
        if name not in self.names:
            self.names.append(name)
        self.options[name] = options
        return place

    def settings(self, environ: Mapping[str, str] | None = None) -> Settings:
        given = {"CACHE_DIR": os.environ["CACHE_DIR"], "DOCKER_HOST": need("DOCKER_HOST"), "BASE_IMAGE": BASE}
        given["DOCKER_CONFIG"] = str(self.folder / "docker")
        return load_settings(Path(os.devnull), {**given, **self.environ, **(environ or {})})

    @property
    def plan(self) -> Plan:
        file = self.folder / "dag.yaml"
        system: dict[str, Any] = {"name": "app", "components": self.names, "dependencies": [], "options": self.options}
        system["input_media"] = self.media or None
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"System": system}))
        return make_plan(parse_dag(file.read_text(), file))

    @property
    def folders(self) -> dict[str, Path]:
        places = {name: self.folder / "components" / name for name in self.names}
        return {"save-media": self._tiny() if self.tiny else ROOT / "src" / "save-media", **places}

    def _tiny(self) -> Path:
        folder = self.folder / "tiny"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(f"FROM {self.tiny}\nCMD true\n")
        return folder

    def build(self, environ: Mapping[str, str] | None = None, *, push: bool = False, **more: bool) -> dict[str, Image]:
        return build_images(self.plan, self.folders, self.settings(environ), push=push, **more)

    def find(self, environ: Mapping[str, str] | None = None, *, push: bool = False) -> dict[str, Image]:
        return find_images(self.plan, self.folders, self.settings(environ), push=push)


def inspect(host: str, name: str) -> dict[str, Any]:
    """Return what an engine says of an image or container."""
    found: list[dict[str, Any]] = json.loads(docker(host, "inspect", name))
    return found[0]


def snapshot(host: str) -> dict[str, list[str]]:
    """Return all that is in an engine: images with their names, containers, volumes."""
    return {
        "images": sorted(
            docker(host, "images", "--all", "--digests", "--no-trunc", "--format", "{{json .}}").split("\n")
        ),
        "containers": sorted(
            docker(host, "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Image}} {{.Names}}").split("\n")
        ),
        "volumes": sorted(docker(host, "volume", "ls", "--quiet").split("\n")),
    }


def label() -> str:
    """Return the label of all that the tests of this session build."""
    return f"{BUILDER}={builder_of(Bench(Path('/')).settings())}"
