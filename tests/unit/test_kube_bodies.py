"""What is sent to Kubernetes: names, labels, the claim, the helper pod and where it may be; all pure."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.dag import Dag, Options, parse_dag
from src.errors import ConfigError
from src.kube.claim import GIB, ClaimSpec, claim_body, default_size, storage_text
from src.kube.labels import (
    CLAIM,
    DAG,
    EXPIRY,
    OWNER,
    RUN,
    STATE,
    Origin,
    claim_name,
    expiry_label,
    helper_name,
    label_value,
    origin_of,
    read_expiry,
)
from src.kube.placement import Placement, find_placement
from src.kube.pod import HelperSpec, pod_body
from src.plan import Plan, make_plan

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ORIGIN = Origin(owner="ada@laptop", run="20261124-151123-ab12", dag="my_App", file="/home/ada/My Dags/x.yaml")
SPEC = HelperSpec(claim="claim-1", origin=ORIGIN, image="r/save-media@sha256:1")


def helper(**changes: object) -> dict[str, object]:
    body: dict[str, object] = pod_body(replace(SPEC, **changes), "pod-1", "f" * 64, 0.0)  # type: ignore[arg-type]
    return body


@given(st.text(max_size=200))
def test_any_text_has_a_label_value(text: str) -> None:
    assert LABEL.fullmatch(label_value(text))


@given(st.text(max_size=100), st.text(max_size=100))
def test_different_texts_have_different_label_values(one: str, other: str) -> None:
    assert (one == other) == (label_value(one) == label_value(other))


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True), st.text(max_size=50))
def test_names_are_dns_labels_and_new_each_time(dag: str, file: str) -> None:
    origin = replace(ORIGIN, dag=dag, file=file)
    claim = claim_name(origin)
    assert DNS_LABEL.fullmatch(claim)
    assert len(claim) <= 53
    assert claim != claim_name(origin)
    assert DNS_LABEL.fullmatch(helper_name(claim))
    assert helper_name(claim) != helper_name(claim)
    assert all(LABEL.fullmatch(value) for value in origin.labels().values())


def test_a_dag_is_its_name_and_its_file() -> None:
    assert ORIGIN.dag_label == replace(ORIGIN, run="another", owner="bob").dag_label
    assert ORIGIN.dag_label != replace(ORIGIN, file="/elsewhere/x.yaml").dag_label
    assert ORIGIN.dag_label != replace(ORIGIN, dag="other").dag_label


@pytest.mark.parametrize(
    ("environ", "owner"),
    [({"USER": "ada"}, "ada@host"), ({"LOGNAME": "lo", "USER": "ada"}, "lo@host"), ({"USER": ""}, r"\d+@host")],
)
def test_the_owner_is_the_user_of_this_machine(environ: dict[str, str], owner: str) -> None:
    dag = Dag(path=Path("/d.yaml"), name="d", components=(), edges=())
    assert re.fullmatch(owner, origin_of(dag, "r", environ, "host").owner)


def test_an_expiry_is_read_as_it_was_written() -> None:
    assert LABEL.fullmatch(expiry_label(1_796_139_229))
    assert read_expiry(expiry_label(1_796_139_229)) == 1_796_139_229
    assert read_expiry("tomorrow") is None


def test_a_claim_says_whose_it_is_and_how_long() -> None:
    spec = ClaimSpec(name="c", origin=ORIGIN, size=2 * GIB, access_mode="ReadWriteMany", storage_class="fast")
    body = claim_body(spec, now=0)
    labels = body["metadata"]["labels"]
    assert labels[OWNER].startswith("ada-laptop-")
    assert (labels[RUN], labels[STATE], labels[EXPIRY]) == ("20261124-151123-ab12", "active", "19700108T000000Z")
    assert labels[DAG] == ORIGIN.dag_label
    assert body["metadata"]["annotations"]["kubeflow-autopipe/dag-file"] == "/home/ada/My Dags/x.yaml"
    assert body["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "2Gi"}},
        "storageClassName": "fast",
    }
    assert "storageClassName" not in claim_body(replace(spec, storage_class=None), now=0)["spec"]


@pytest.mark.parametrize(
    ("media", "steps", "gib"), [(0, 5, 1), (1, 1, 1), (GIB, 1, 4), (GIB, 5, 12), (10 * GIB, 4, 100), (GIB, 1000, 34)]
)
def test_a_volume_has_room_for_what_steps_make_of_the_media(media: int, steps: int, gib: int) -> None:
    assert default_size(media, steps) == gib * GIB


def test_sizes_are_written_as_people_read_them() -> None:
    assert (storage_text(3 * GIB), storage_text(1_000_000)) == ("3Gi", "1000000")


def test_the_helper_pod_meets_pod_security_restricted() -> None:
    """The rules are those of https://kubernetes.io/docs/concepts/security/pod-security-standards."""
    spec = helper()["spec"]
    assert isinstance(spec, dict)
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert [set(volume) for volume in spec["volumes"]] == [{"name", "persistentVolumeClaim"}]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert "hostPort" not in container["ports"][0]


def test_the_helper_pod_is_found_by_its_labels_and_left_alone_by_others() -> None:
    body = helper()
    metadata, spec = body["metadata"], body["spec"]
    assert isinstance(metadata, dict)
    assert isinstance(spec, dict)
    assert metadata["labels"][CLAIM] == "claim-1"
    assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
    assert metadata["annotations"]["sidecar.istio.io/inject"] == "false"
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "claim-1"}


def test_the_helper_pod_has_both_requests_and_limits_since_quotas_may_want_them() -> None:
    resources = helper()["spec"]["containers"][0]["resources"]  # type: ignore[index]
    assert resources.keys() == {"requests", "limits"}
    assert all(part.keys() == {"cpu", "memory"} for part in resources.values())


def test_the_helper_pod_asks_for_what_the_largest_step_asks_for() -> None:
    placement = Placement(node_selector={"pool": "gold"}, tolerations=({"key": "k"},), cpu=8, memory=16 << 30, gpu=2)
    spec = helper(placement=placement, pull_secret="s", pull_policy="IfNotPresent")["spec"]
    assert isinstance(spec, dict)
    assert spec["containers"][0]["resources"] == {
        "requests": {"cpu": "8000m", "memory": "16777216Ki", "nvidia.com/gpu": "2"},
        "limits": {"cpu": "8000m", "memory": "16777216Ki", "nvidia.com/gpu": "2"},
    }
    assert spec["nodeSelector"] == {"pool": "gold"}
    assert spec["tolerations"] == [{"key": "k"}]
    assert spec["imagePullSecrets"] == [{"name": "s"}]
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    small = helper(placement=placement.without_room())["spec"]
    assert isinstance(small, dict)
    assert small["containers"][0]["resources"] == helper()["spec"]["containers"][0]["resources"]  # type: ignore[index]
    assert small["nodeSelector"] == {"pool": "gold"}


def test_no_token_is_in_a_pod() -> None:
    text = json.dumps(helper())
    assert "f" * 64 in text  # the sum of the token, which leads nobody back to it
    assert "serve.py" in text
    assert "tunnel" not in text


def plan_of(**options: Options) -> Plan:
    names = ", ".join(options)
    text = f"System:\n  name: d\n  components: [{names}]\n  dependencies: []\n"
    dag = parse_dag(text, Path("/d.yaml"))
    return make_plan(replace(dag, options=options))


def test_the_first_pod_on_a_volume_goes_where_all_steps_can() -> None:
    plan = plan_of(
        a=Options(cpu=0.5, memory=1 << 30, node_selector={"pool": "gold"}, tolerations=({"key": "a"},)),
        b=Options(cpu=4, gpu=1, node_selector={"disk": "ssd"}, tolerations=({"key": "a"}, {"key": "b"})),
        c=Options(),
    )
    placement = find_placement(plan, "ReadWriteOnce")
    assert placement == Placement(
        node_selector={"pool": "gold", "disk": "ssd"},
        tolerations=({"key": "a"}, {"key": "b"}),
        cpu=4,
        memory=1 << 30,
        gpu=1,
    )
    assert placement.is_big
    assert not placement.without_room().is_big
    assert not find_placement(plan_of(c=Options()), "ReadWriteOnce").is_big


def test_steps_that_want_different_nodes_need_a_volume_for_many() -> None:
    plan = plan_of(a=Options(node_selector={"pool": "gold"}), b=Options(node_selector={"pool": "blue"}))
    with pytest.raises(ConfigError, match=r"a and b want different nodes \(pool: gold, blue\)") as caught:
        find_placement(plan, "ReadWriteOnce")
    assert "ReadWriteMany" in caught.value.hint
    assert find_placement(plan, "ReadWriteMany") == Placement()
