"""Outputs on their way home: the same as on other targets, and whole whatever breaks on the way."""

import shlex
import subprocess
import threading
from pathlib import Path

import pytest

from src.images import Image
from tests.cluster.conftest import MakeProject
from tests.cluster.cutter import through_cutter
from tests.cluster.project import COPY, SPLIT
from tests.cluster.standin import StandIn, stand_in, variable
from tests.cluster.test_kubeflow_failures import finish, wait_for_run, wait_for_step
from tests.integration.test_parity import online, run_sample
from tests.support import check_error, small_disk

__all__ = ["online"]

MIB = 1 << 20
LARGE = f'head -c {48 * MIB} /dev/urandom > "$4.bin"'


def test_the_sample_is_the_same_as_on_this_machine(
    online: None, server: StandIn, make_project: MakeProject, tmp_path: Path
) -> None:
    settings = make_project(server).settings
    output = tmp_path / "output"  # one for both: what one target made lies before the other's eyes

    on_process = run_sample("process", output, settings)
    on_cluster = run_sample("kubeflow", output, settings)

    assert on_cluster.outputs == on_process.outputs
    assert on_cluster.ran == on_process.ran
    assert set(on_cluster.reused.values()) == {0}


def test_a_connection_that_is_cut_in_the_middle_of_a_download_is_gone_on_with(
    server: StandIn, make_project: MakeProject, tmp_path: Path
) -> None:
    with through_cutter(Path(variable("AUTOPIPE_KUBECONFIG_USER")), tmp_path) as (cutter, kubeconfig):
        project = make_project(server, KUBECONFIG=str(kubeconfig))
        project.steps({"a": LARGE})
        cutter.cuts_left, cutter.budget = 3, 10_000_000

        outcome = project.succeed()

        assert cutter.cuts == 3
    assert (outcome.folder / "a" / "a.bin").stat().st_size == 48 * MIB


def test_a_disk_that_is_too_small_for_the_outputs_loses_nothing(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps({"a": LARGE})
    with small_disk(project.output, 24 * MIB) as change:
        outcome = project.run()

        assert outcome.status == 6, outcome.err
        check_error(outcome)
        assert "kept until" in outcome.err
        change(f"size={200 * MIB}")
        server.order("reset")
        again = project.succeed()

        assert server.asked("POST", "/runs") == []  # it is not run again
        assert (again.folder / "a" / "a.bin").stat().st_size == 48 * MIB
        assert again.ran == {"a": 1}


def test_an_image_that_the_cluster_cannot_pull_is_told_at_once(
    server: StandIn, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(image: Image, *, loaded: bool) -> str:
        found = image.digest or ""
        return found[:-4] + "0000" if image.component == "b" else found

    project = make_project(server)
    project.steps({"a": SPLIT, "b": COPY}, [["a", "b", 1]])
    with monkeypatch.context() as patch:
        patch.setattr("src.kube.errand.reference", missing)

        outcome = project.fail(5)

    assert "step b cannot start: image" in outcome.err
    assert "is not in its registry" in outcome.err
    assert project.succeed().ran == {"b": 2}


def test_a_step_that_cannot_write_to_the_volume_says_so(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    spoil = f"{COPY}; chmod a-w /mnt/data/b"
    project.steps({"a": spoil, "b": COPY}, [["a", "b", 1]])

    outcome = project.fail(5)

    assert "step b" in outcome.err
    assert "Permission denied" in outcome.err
    project.steps({"a": COPY, "b": COPY}, [["a", "b", 1]])
    project.succeed("--fresh")


def test_a_server_that_is_restarted_in_the_middle_does_no_harm(tmp_path: Path, make_project: MakeProject) -> None:
    with stand_in("_AGAIN", tmp_path) as server:
        project = make_project(server)
        project.steps({"a": SPLIT, "b": 'sleep 10; cp "$2" "$4.txt"'}, [["a", "b", 1]])
        process = project.start()
        wait_for_run(project)
        wait_for_step(project, "a", pods="Succeeded")

        try:
            give_command("AUTOPIPE_KFP_STOP")
            threading.Event().wait(5)  # the time that a server is away, not one that anything waits for
        finally:
            give_command("AUTOPIPE_KFP_START")
        outcome = finish(process)

    assert outcome.status == 0, outcome.err
    assert outcome.ran == {"a": 1, "b": 2}


def give_command(name: str) -> None:
    """Run a command that a variable of the environment names."""
    subprocess.run(shlex.split(variable(name)), check=True, capture_output=True)
