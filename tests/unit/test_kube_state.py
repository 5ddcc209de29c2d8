"""The record of what a DAG has on a cluster."""

import dataclasses
from pathlib import Path

import pytest

from src.dag import Dag, Options
from src.errors import ConfigError
from src.kube.state import PREPARING, ClusterRun, forget_state, plan_sum, read_state, state_path, write_state
from src.plan import make_plan, plan_document
from src.settings import Settings
from src.step import Record

DAG = Dag(path=Path("/dag.yaml"), name="app", components=("a",), edges=())
SETTINGS = Settings(cache_dir=Path("/cache"), kfp_api_url="https://host/pipeline")


def document(dag: Dag = DAG, *, run: str = "one", key: str = "k", media: str = "m", inode: int = 1) -> Record:
    entry = {"name": "clip.mp4", "sha256": media, "inode": inode}
    names = ("save-media", "a")
    return plan_document(
        make_plan(dag),
        run_id=run,
        keys=dict.fromkeys(names, key),
        sums=dict.fromkeys(names, "s"),
        media=[entry],
        parallel=None,
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = state_path(tmp_path, DAG, SETTINGS)
    assert read_state(path) is None
    state = write_state(path, ClusterRun(claim="c", run="r", name="n", plan="p", phase=PREPARING))
    assert read_state(path) == state
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    forget_state(path)
    forget_state(path)
    assert read_state(path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "more": 1}'])
def test_a_record_of_another_kind_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record"
    path.write_text(text)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_state(path)


def test_each_file_server_and_namespace_has_a_record_of_its_own(tmp_path: Path) -> None:
    others = [
        state_path(tmp_path, dataclasses.replace(DAG, path=Path("/other.yaml")), SETTINGS),
        state_path(tmp_path, DAG, dataclasses.replace(SETTINGS, kfp_api_url="https://other/pipeline")),
        state_path(tmp_path, DAG, dataclasses.replace(SETTINGS, kube_namespace="team-2")),
        state_path(tmp_path, DAG, SETTINGS),
    ]
    assert len(set(others)) == 4


def test_the_plan_is_the_same_for_another_run_of_it() -> None:
    plan = make_plan(DAG)
    assert plan_sum(plan, document(run="one", inode=1)) == plan_sum(plan, document(run="two", inode=2))


@pytest.mark.parametrize("options", [Options(memory=1 << 30), Options(timeout=5), Options(node_selector={"a": "b"})])
def test_the_plan_differs_by_options(options: Options) -> None:
    other = dataclasses.replace(DAG, options={"a": options})
    assert plan_sum(make_plan(DAG), document()) != plan_sum(make_plan(other), document(other))


def test_the_plan_differs_by_keys_and_media() -> None:
    plan = make_plan(DAG)
    sums = {plan_sum(plan, document(key=key, media=media)) for key, media in [("k", "m"), ("l", "m"), ("k", "n")]}
    assert len(sums) == 3
