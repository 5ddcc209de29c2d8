"""The sample as shipped: every output has the same content on each target, and none is taken from another target."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.on_targets import BASE, client
from tests.support import ROOT, read_record, run_main

__all__ = ["client"]


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sample's packages be fetched."""
    monkeypatch.delenv("UV_OFFLINE")


@dataclasses.dataclass(frozen=True)
class Made:
    """What a run made: of each step the outputs' names and content sums, and how much was run and taken over."""

    outputs: dict[str, list[tuple[str, str]]]
    ran: dict[str, int]
    reused: dict[str, int]


def run_sample(target: str, output: Path, env_file: Path) -> Made:
    words = ["-i", str(ROOT / "application_dag.yaml"), "--target", target, "--output", str(output)]
    outcome = run_main([*words, "--env-file", str(env_file)])
    assert outcome.status == 0, outcome.err
    steps: list[dict[str, Any]] = read_record(outcome.folder)["steps"]
    return Made(
        outputs={
            step["step"]: sorted(
                (one["name"], one["content"]) for made in step["invocations"] for one in made["outputs"]
            )
            for step in steps
        },
        ran={step["step"]: step["ran"] for step in steps},
        reused={step["step"]: step["reused"] for step in steps},
    )


def test_the_sample_is_the_same_on_each_target(online: None, client: "docker.DockerClient", tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text(f"BASE_IMAGE={BASE}\n")
    output = tmp_path / "output"  # one for both: what one target made lies before the other's eyes
    on_process = run_sample("process", output, env_file)
    in_docker = run_sample("docker", output, env_file)
    assert in_docker.outputs == on_process.outputs
    assert len([name for outputs in on_process.outputs.values() for name in outputs]) > 30
    assert set(in_docker.reused.values()) == set(on_process.reused.values()) == {0}
    assert in_docker.ran == on_process.ran
    # Each takes its own.
    for target in ("process", "docker"):
        again = run_sample(target, output, env_file)
        assert set(again.ran.values()) == {0}
        assert again.reused == on_process.ran
    shutil.rmtree(output)
