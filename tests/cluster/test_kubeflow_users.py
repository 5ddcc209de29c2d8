"""Who runs beside whom on a cluster, with which rights, and what is left for --clean."""

import re
import subprocess
from pathlib import Path

import pytest

from src.kube.load import images_there
from tests.cluster.conftest import MakeProject
from tests.cluster.project import COPY, SPLIT, kube
from tests.cluster.standin import StandIn, until, variable
from tests.cluster.test_kubeflow_failures import cluster_record, finish, wait_for_run, wait_for_step
from tests.support import contents, run_main

DAG = ({"a": SPLIT, "b": COPY}, [["a", "b", 1]])
DONE = {"a": 1, "b": 2}


def test_two_runs_of_one_dag_and_one_of_another_do_not_touch_each_other(
    server: StandIn, make_project: MakeProject
) -> None:
    one, other = make_project(server), make_project(server)
    one.steps(*DAG)
    other.steps({"a": SPLIT, "b": 'cat "$2" "$2" > "$4.txt"'}, DAG[1])
    elsewhere = one.folder / "elsewhere"
    processes = [one.start(), one.start("--output", str(elsewhere)), other.start()]

    first, second, third = (finish(process) for process in processes)

    for outcome in (first, second, third):
        assert outcome.status == 0, outcome.err
        assert outcome.ran == DONE
    assert second.folder.is_relative_to(elsewhere)
    assert contents(first.folder / "b") == contents(second.folder / "b")
    assert contents(third.folder / "b") != contents(first.folder / "b")


@pytest.mark.parametrize("user", ["AUTOPIPE_KUBECONFIG_USER", "AUTOPIPE_KUBECONFIG_PODS_ONLY"])
def test_a_user_of_one_namespace_can_do_everything(server: StandIn, make_project: MakeProject, user: str) -> None:
    project = make_project(server, KUBECONFIG=variable(user))
    project.steps({**DAG[0], "c": "exit 4"}, [*DAG[1], ["a", "c", 1]])
    failed = project.fail(5)
    assert "step c on c_0: exited with status 4" in failed.err
    project.steps(*DAG)

    outcome = project.succeed()

    assert "b" not in outcome.ran or outcome.ran["b"] == 2
    assert set(contents(outcome.folder / "b")) == {"b_0.txt", "b_1.txt"}


def test_images_are_loaded_into_the_nodes_without_a_registry(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server, IMAGE_LOAD_COMMAND=variable("AUTOPIPE_LOAD_COMMAND"), REGISTRY="127.0.0.1:1")
    project.steps(*DAG)

    outcome = project.succeed()

    assert outcome.ran == DONE
    pipeline = (outcome.folder / "pipeline.yaml").read_text()
    assert "imagePullPolicy: IfNotPresent" in pipeline
    assert "@sha256" not in pipeline
    references = set(re.findall(r"image: (\S+)", pipeline))
    assert len(references) == 3

    def are_told() -> bool | None:
        there = images_there(kube()) or set()
        return references <= there or len(there) >= 50 or None

    until(are_told, 120)  # a kubelet looks at its images twice a minute, and tells of 50 at most
    again = project.succeed("--fresh")
    assert "loading" not in again.err or len(images_there(kube()) or ()) >= 50


def test_what_is_left_is_cleaned_away_and_what_is_not_ours_stays(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps({"a": SPLIT, "b": "exit 3"}, DAG[1])
    project.fail(5)
    claim = cluster_record(project)["claim"]
    cluster = kube()
    assert cluster.get("persistentvolumeclaims", claim) is not None
    size = {"requests": {"storage": "1Mi"}}
    mine = {
        "metadata": {"name": "autopipe-of-a-person"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": size},
    }
    cluster.create("persistentvolumeclaims", mine)
    try:
        early = run_main(["--clean", "--env-file", str(project.settings)])
        assert early.status == 0
        assert f"left    claim {claim}" in early.out  # its date has not come

        outcome = project.run("--clean")

        assert outcome.status == 0, outcome.err
        assert f"removed claim {claim}" in outcome.out
        assert cluster.get("persistentvolumeclaims", claim) is None
        assert cluster_record(project) == {}
        assert cluster.get("persistentvolumeclaims", "autopipe-of-a-person") is not None
    finally:
        cluster.delete("persistentvolumeclaims", "autopipe-of-a-person")


def test_cleaning_ends_the_run_of_a_client_that_died(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps({"a": SPLIT, "b": "sleep 3600"}, DAG[1])
    process = project.start()
    run_id = wait_for_run(project)
    wait_for_step(project, "b")
    process.kill()
    process.communicate()

    outcome = project.run("--clean")

    assert outcome.status == 0, outcome.err
    assert "removed claim" in outcome.out
    with server.open() as api:
        assert api.get_run(run_id).is_final


def test_a_volume_that_is_kept_on_request_is_used_again(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps(*DAG)
    first = project.succeed("--keep-volume")
    claim = cluster_record(project)["claim"]
    assert kube().get("persistentvolumeclaims", claim) is not None
    project.steps({"a": SPLIT, "b": 'cat "$2" "$2" > "$4.txt"'}, DAG[1])

    second = project.succeed()

    assert claim in first.err
    assert second.ran == {"b": 2}
    assert cluster_record(project) == {}


def test_what_the_user_wrote_reaches_the_step_as_it_was(each_server: StandIn, make_project: MakeProject) -> None:
    project = make_project(each_server)
    text = "{{workflow.name}} $(HOME) $$(X) ${PATH} 'quoted' \"double\" é \\n *"
    show = 'out="$4"; shift 4; printf "%s\\n" "$GREETING" "$@" > "$out.txt"'
    project.steps({"a": show}, [], {"a": {"env": {"GREETING": text}, "args": [text, "-y"]}})

    outcome = project.succeed()

    assert contents(outcome.folder / "a")["a.txt"].decode() == f"{text}\n{text}\n-y\n"


def test_the_media_stays_out_of_the_registry_unless_asked(server: StandIn, make_project: MakeProject) -> None:
    secret = "these are the bytes of the media that nobody may see\n" * 1000
    project = make_project(server)
    project.media(secret, "clip.txt")
    project.steps(*DAG)
    project.succeed()
    plain = image_of(project.runs()[-1])

    other = make_project(server, MEDIA_TRANSPORT="image")
    other.media(secret, "clip.txt")
    other.steps(*DAG)
    other.succeed()
    carried = image_of(other.runs()[-1])

    assert plain != carried
    assert has_media(carried)
    assert not has_media(plain)


def image_of(run: Path) -> str:
    lines = (run / "pipeline.yaml").read_text().splitlines()
    return next(line.split()[-1] for line in lines if "image:" in line and "/save-media@" in line)


def has_media(image: str) -> bool:
    """Say whether an image holds the media of the test."""
    search = [
        "docker",
        "run",
        "--rm",
        "--entrypoint",
        "grep",
        image,
        "-rlq",
        "bytes of the media",
        "/media",
        "/component",
    ]
    return subprocess.run(search, capture_output=True).returncode == 0


def test_the_check_finds_all_well_or_says_what_is_not(server: StandIn, make_project: MakeProject) -> None:
    project = make_project(server)
    project.steps(*DAG)
    well = project.run("--check")
    assert well.status == 0, well.err
    assert "all that a run needs in namespace team-1" in well.out

    wrong = make_project(server, STORAGE_CLASS="no-such-class", DEX_USERNAME="user1@example.com", DEX_PASSWORD="wrong")
    wrong.steps(*DAG)
    outcome = wrong.run("--check")

    assert outcome.status == 5
    assert "wrong user name or password" in outcome.out
    assert "there is no no-such-class" in outcome.out


def test_the_check_of_a_user_with_few_rights_says_what_is_done_without_them(
    server: StandIn, make_project: MakeProject
) -> None:
    project = make_project(server, KUBECONFIG=variable("AUTOPIPE_KUBECONFIG_PODS_ONLY"))
    project.steps(*DAG)

    outcome = project.run("--check")

    assert outcome.status == 0, outcome.err
    assert "no right to get pods/proxy, create pods/proxy" in outcome.out
    assert "pods/exec" in outcome.out
