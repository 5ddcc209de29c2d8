"""The 35 DAG files from public repositories: each accepted with the right graph, or refused for the right reason."""

from pathlib import Path

import pytest

from src.dag import load_dag
from src.errors import ConfigError

DAGS = Path(__file__).parent / "data" / "dags"

# "a -> b" with probability 1 unless "a -0.75-> b" gives another; components are those of the chain, in this order
TWO = "blurry-faces-onnx -> mask-detector"
TWO_ONNX = "blurry-faces-onnx -> mask-detector-onnx"
PARTITIONED = "blurry-faces-onnx-partition1-1 -> blurry-faces-onnx-partition1-2 -> mask-detector"
UNDERSCORED = "blurry-faces-onnx_partition1_1 -> blurry-faces-onnx_partition1_2 -> mask-detector"
MEDIA = "ffmpeg-0 -> librosa -> ffmpeg-1 -> ffmpeg-2 -> deepspeech -> ffmpeg-3 -> object-detector"
MASK = "ai-sprint_mask_detection_app"
SPACE4AI = "ai-sprint-eu-project_space4ai-r-runtime-manager"

ACCEPTED = {
    "Ansaya_AI-SPRINT-STUDIO_2": (MASK, TWO),
    "Ansaya_AI-SPRINT-STUDIO_4": ("ai-sprint_mask_detection_app_two_components_partitioned", TWO_ONNX),
    "Ansaya_AI-SPRINT-STUDIO_5": ("ai-sprint_mask_detection_two_components_partitioned_app", TWO_ONNX),
    "Ansaya_AI-SPRINT-STUDIO_6": ("ai-sprint_simple_app", "C1 -> C2"),
    "ai-sprint-eu-project_AI-SPRINT-STUDIO_1": ("filter_classifier_app", "filter_fcn -0.6336-> classifier"),
    "ai-sprint-eu-project_AI-SPRINT-STUDIO_3": (MASK, "filter -> classifier"),
    "ai-sprint-eu-project_AI-SPRINT-STUDIO_4": ("mask_detection_v1", TWO),
    "ai-sprint-eu-project_AI-SPRINT-STUDIO_5": (MASK, TWO_ONNX),
    "ai-sprint-eu-project_AI-SPRINT-STUDIO_6": (MASK, TWO_ONNX + " -> third_component"),
    f"{SPACE4AI}_1": (MASK, TWO),
    f"{SPACE4AI}_2": (MASK, TWO),
    f"{SPACE4AI}_3": (MASK, TWO),
    f"{SPACE4AI}_4": (MASK, PARTITIONED),
    f"{SPACE4AI}_5": (MASK, PARTITIONED),
    f"{SPACE4AI}_6": (MASK, TWO),
    f"{SPACE4AI}_7": (MASK, "blurry-faces-onnx-2 -> mask-detector-2"),
    f"{SPACE4AI}_8": (MASK, PARTITIONED + "-2"),
    f"{SPACE4AI}_9": (MASK, "blurry-faces-onnx-2 -> mask-detector-2"),
    f"{SPACE4AI}_10": (MASK, PARTITIONED),
    f"{SPACE4AI}_11": (MASK, TWO),
    f"{SPACE4AI}_12": (MASK, TWO),
    "grycap_toscarizer_1": (MASK, TWO),
    "grycap_toscarizer_2": (MASK, UNDERSCORED),
    "grycap_toscarizer_3": (MASK, UNDERSCORED),
    "grycap_toscarizer_5": ("filter_classifier_early_exits", "filter -> classifier"),
    "grycap_toscarizer_6": (
        "filter_classifier_early_exits",
        "filter -> classifier_partition1_1 -0.75-> classifier_partition1_2",
    ),
    "litovn_kubeflow-autopipe_1": ("my_new_app", MEDIA),
    "litovn_kubeflow-autopipe_2": ("my_new_app", MEDIA),
    "litovn_kubeflow-autopipe_3": ("my_new_app", MEDIA),
    "litovn_kubeflow-autopipe_4": ("my_new_app", MEDIA),
}

WARNINGS = {
    "ai-sprint-eu-project_AI-SPRINT-STUDIO_1": "5: alternative_components is ignored",
    "litovn_kubeflow-autopipe_2": "6: parallelize_from is ignored",
}

OTHER_DAGS = "is a list of other DAGs, this file is none itself; write one of them into a file of its own, with a name"

REFUSED = {
    "Ansaya_AI-SPRINT-STUDIO_1": [
        "3: the placeholder '{{cookiecutter.application_name}}' was left in; write a value of your own",
        "4: components names none: there is nothing to run; write components: ['a', 'b']",
    ],
    "Ansaya_AI-SPRINT-STUDIO_3": [
        "4: this key is indented below a value; put it in the same column as the key above it"
    ],
    "ai-sprint-eu-project_AI-SPRINT-STUDIO_2": [
        f"5: 'sorted_deployments_performance' {OTHER_DAGS}",
    ],
    "grycap_toscarizer_4": ["4: components names none: there is nothing to run; write components: ['a', 'b']"],
    "litovn_kubeflow-autopipe_5": [
        "6: the placeholder 'component-name-1' was left in; write the name of a component",
        "6: the placeholder 'component-name-2' was left in; write the name of a component",
        "6: the placeholder '...' was left in; write the name of a component",
        "7: the placeholder '...' was left in; write ['from', 'to', 1]",
    ],
}


def read_chain(chain: str) -> tuple[list[str], list[tuple[str, str, float]]]:
    words = chain.split()
    names, arrows = words[::2], words[1::2]
    weights = [float(arrow.strip("->") or 1) for arrow in arrows]
    return names, list(zip(names, names[1:], weights, strict=False))


def test_the_tables_name_every_file() -> None:
    assert sorted(ACCEPTED | REFUSED) == sorted(path.stem for path in DAGS.glob("*.yaml"))
    assert len(ACCEPTED) + len(REFUSED) == 35


@pytest.mark.parametrize("stem", ACCEPTED)
def test_accepted(stem: str) -> None:
    dag = load_dag(DAGS / f"{stem}.yaml")
    name, chain = ACCEPTED[stem]
    names, edges = read_chain(chain)
    assert dag.name == name
    assert list(dag.components) == names
    assert [(edge.parent, edge.child, edge.probability) for edge in dag.edges] == edges
    if stem in WARNINGS:
        assert len(dag.warnings) == 1
        assert dag.warnings[0].startswith(f"{stem}.yaml:{WARNINGS[stem]}")
    else:
        assert dag.warnings == ()
    assert not dag.options


def test_repository_and_media_of_the_files() -> None:
    plain, with_media = (load_dag(DAGS / f"litovn_kubeflow-autopipe_{n}.yaml") for n in (3, 4))
    assert plain.repository == with_media.repository == "https://github.com/litovn/kubeflow-components.git"
    assert plain.media == ()
    assert with_media.media == (Path("/home/proai/PycharmProjects/kubeflow-autopipe/video/input_10sec.mp4"),)


@pytest.mark.parametrize("stem", REFUSED)
def test_refused(stem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_dag(DAGS / f"{stem}.yaml")
    error, expected = caught.value, [f"{stem}.yaml:{line}" for line in REFUSED[stem]]
    if len(expected) == 1:
        assert f"{error.message}; {error.hint}" == expected[0]
        assert error.details == ()
    else:
        assert error.message == f"{stem}.yaml: {len(expected)} problems"
        assert list(error.details) == expected
        assert error.hint
