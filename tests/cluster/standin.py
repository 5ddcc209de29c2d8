"""The Kubeflow servers that the environment names, and what a test may order of them.

Each has KFP_API_URL<suffix>, KFP_CA_CERT<suffix> and KFP_LAB_CONTROL<suffix>; see SERVERS for the suffixes. The first
also has KFP_LAB_DIRECT (the API without a gateway) and KFP_LAB_TOKEN (a bearer token that its gateway takes). The
cluster has KUBECONFIG, AUTOPIPE_KUBECONFIG_USER and AUTOPIPE_KUBECONFIG_PODS_ONLY (two users with fewer rights), the
registry that its nodes pull from, AUTOPIPE_REGISTRY, and a command that loads images into them, AUTOPIPE_LOAD_COMMAND.
The commands AUTOPIPE_KFP_STOP and AUTOPIPE_KFP_START are for the server of suffix _AGAIN, which one test restarts.
"""

import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from src.kube.api import Api
from src.kube.patience import Stop
from src.kube.server import Server, read_server
from src.settings import Settings, load_settings

T = TypeVar("T")

ENVIRON: Final = dict(os.environ)  # at collection; the tests' own surroundings have none of it
SERVERS: Final = {
    "deployKF today": "",
    "deployKF 0.1.5": "_21",
    "Kubeflow 1.9": "_19",
    "several connectors": "_SEVERAL",
    "old Dex": "_OLD",
}
"""Suffixes: 2.17 and 2.1 behind deployKF's login; 2.16 behind Kubeflow 1.9's, with cookies that are renewed each
second; 2.17 behind several connectors; 2.1 behind AuthService and an old Dex."""

NAMESPACE = "team-1"
IMAGE = "autopipe.test/busybox:1"
NO_TOKEN = Path("/nonexistent/token")


def variable(name: str) -> str:
    """Return a variable of the environment; fails the test, and never skips it, when it is not set."""
    if not ENVIRON.get(name):
        pytest.fail(f"the cluster tests need {name}: .ci/run sets it", pytrace=False)
    return ENVIRON[name]


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """One server."""

    suffix: str
    folder: Path

    @property
    def url(self) -> str:
        return variable(f"KFP_API_URL{self.suffix}")

    def settings(self, **values: str) -> Settings:
        """Return settings that name the server; values "" are left out."""
        empty = self.folder / "empty.env"
        empty.touch()
        named = {"KFP_API_URL": self.url, "KFP_CA_CERT": variable(f"KFP_CA_CERT{self.suffix}"), "NO_PROXY": "*"}
        return load_settings(empty, {name: value for name, value in {**named, **values}.items() if value})

    def server(self, **values: str) -> Server:
        return read_server(self.settings(**values), NO_TOKEN)

    def open(self, *, stop: Stop | None = None, patience: float = 60, **values: str) -> Api:
        return Api(self.server(**values), stop=stop, patience=patience)

    def order(self, action: str, **order: object) -> None:
        """Order something: a fault, the end of all sessions, a session's life, a run's state."""
        _send(variable(f"KFP_LAB_CONTROL{self.suffix}"), {"action": action, **order})

    def asked(self, method: str = "", part: str = "") -> list[str]:
        """Return what was asked since the last reset, as `POST /dex/auth/local/login 303`."""
        log = _send(variable(f"KFP_LAB_CONTROL{self.suffix}"), None)["requests"]
        shown = (f"{one['method']} {one['path'].split('?')[0]} {one['status']}" for one in log)
        return [line for line in shown if line.startswith(method) and part in line]

    def logins(self) -> int:
        """Return how often a password was sent since the last reset."""
        return len(self.asked("POST", "/dex/auth/local"))


@contextmanager
def stand_in(suffix: str, folder: Path) -> Iterator[StandIn]:
    """Give a server without faults, and leave it so."""
    server = StandIn(suffix=suffix, folder=folder)
    server.order("reset")
    try:
        yield server
    finally:
        server.order("reset")
        server.order("session-ttl", seconds=3600)


def _send(url: str, document: dict[str, Any] | None) -> dict[str, Any]:
    body = None if document is None else json.dumps(document).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, body), timeout=30) as answer:  # a body makes it a POST
        found = json.loads(answer.read())
    assert isinstance(found, dict)
    return found


def until(look: Callable[[], T | None], seconds: float = 60) -> T:
    """Return what look returns as soon as that is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (found := look()) is not None:
            return found
        threading.Event().wait(0.2)
    pytest.fail(f"it did not happen in {seconds} s")


def pipeline(script: str = "echo done", *, after: str = "", image: str = IMAGE) -> dict[str, Any]:
    """Return the IR of a pipeline with one task a, and, where given, a task b after it that runs another script."""
    scripts = {"a": script, **({"b": after} if after else {})}
    return {
        "pipelineInfo": {"name": "autopipe-test"},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.14.0",
        "components": {f"comp-{name}": {"executorLabel": f"exec-{name}"} for name in scripts},
        "deploymentSpec": {
            "executors": {
                f"exec-{name}": {"container": {"image": image, "command": ["sh", "-c"], "args": [text]}}
                for name, text in scripts.items()
            }
        },
        "root": {
            "dag": {
                "tasks": {
                    name: {
                        "taskInfo": {"name": name},
                        "componentRef": {"name": f"comp-{name}"},
                        "cachingOptions": {},
                        **({"dependentTasks": ["a"]} if name == "b" else {}),
                    }
                    for name in scripts
                }
            }
        },
    }
