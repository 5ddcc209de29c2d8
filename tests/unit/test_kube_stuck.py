"""Why pods do not start: pods as a real cluster (1.34) showed them, and texts of other versions and clouds."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.kube.pull import explain_pull
from src.kube.scheduling import explain_scheduling
from src.kube.stuck import Stuck, find_stuck

PODS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "stuck_pods.json").read_bytes())
"""Recorded pods and events, by case."""

WHY = {
    "bad-name": ("is no name of an image", "REGISTRY", 0),
    "claim-missing": ("its claim no-such-claim is gone", "same command", 5),
    "cpu": ("no node has enough cpu free", "`cpu`", 60),
    "gpu": ("no node has a free GPU", "`gpu`", 60),
    "image-missing": ("nothing/here:1 is not in its registry", "REGISTRY", 0),
    "key-missing": ("the secret some has no key k", "`secrets`", 0),
    "many": ("NodePath only supports ReadWriteOnce", "ACCESS_MODE", 30),
    "mount-missing": ("there is no secret gone", "deleted", 30),
    "never-pull": ("is not on the node", "IMAGE_LOAD_COMMAND", 0),
    "no-class": ("there is no storage class no-such-class", "STORAGE_CLASS", 30),
    "no-program": ("has no python9", "python3 3.8", 0),
    "no-secret-for-registry": ("may not pull image 127.0.0.1:5001/", "IMAGE_PULL_SECRET", 0),
    "registry-absent": ("cannot reach registry registry.invalid:5000", "REGISTRY", 60),
    "root": ("runs as root", "USER 1000:1000", 0),
    "secret-missing": ("there is no secret no-such", "kubectl create secret", 0),
    "selector": ("node_selector", "--show-labels", 10),
}


def find(case: str, *, events: bool = True) -> Stuck | None:
    return find_stuck(PODS[case]["pod"], PODS[case]["events"] if events else ())


def test_every_recorded_pod_is_looked_at() -> None:
    assert WHY.keys() | {"other-processor"} == PODS.keys()


@pytest.mark.parametrize("case", WHY)
def test_a_recorded_pod_is_explained(case: str) -> None:
    message, hint, patience = WHY[case]
    found = find(case)
    assert found is not None
    assert message in found.message
    assert hint in found.hint
    assert found.patience == patience


ONLY_EVENTS_TELL = {"many", "mount-missing", "no-class"}


@pytest.mark.parametrize("case", sorted(WHY.keys() - ONLY_EVENTS_TELL))
def test_without_a_right_to_events_the_pod_itself_tells(case: str) -> None:
    found = find(case, events=False)
    assert found is not None
    assert found.message


def test_a_pod_that_ran_is_not_stuck() -> None:
    assert find("other-processor") is None  # it ran, and ended with 1: its log tells why


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Failed"])
def test_a_pod_that_has_started_is_not_stuck(phase: str) -> None:
    ready = {"name": "main", "image": "i", "state": {"running": {}}}
    pod = {"metadata": {"name": "p"}, "spec": {}, "status": {"phase": phase, "containerStatuses": [ready]}}
    mount = {"involvedObject": {"kind": "Pod", "name": "p"}, "reason": "FailedMount", "message": "timed out"}
    assert find_stuck(pod, [mount]) is None


def test_a_pod_that_starts_is_not_stuck() -> None:
    waiting = {"name": "main", "image": "i", "state": {"waiting": {"reason": "PodInitializing"}}}
    pod = {"metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [waiting]}}
    assert find_stuck(pod) is None
    assert find_stuck({"metadata": {"name": "p"}}) is None


def pending(*conditions: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "uid": "1"},
        "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "c"}}, {"emptyDir": {}}]},
        "status": {"phase": "Pending", "conditions": list(conditions)},
    }


def event(reason: str, message: str, at: str = "2026-01-01T00:00:00Z", **about: str) -> dict[str, Any]:
    return {
        "involvedObject": {"kind": "Pod", "name": "p", "uid": "1", **about},
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
    }


def test_events_of_others_say_nothing() -> None:
    for about in ({"name": "q"}, {"uid": "2"}, {"kind": "PersistentVolumeClaim", "name": "other"}, {"kind": "Job"}):
        assert find_stuck(pending(), [event("FailedMount", "x", **about)]) is None


def test_what_has_passed_is_forgotten() -> None:
    mount = event("FailedMount", "timed out", "2026-01-01T00:00:01Z")
    pulling = event("Pulling", "Pulling image", "2026-01-01T00:00:02Z")
    assert find_stuck(pending(), [mount]) is not None
    assert find_stuck(pending(), [pulling, mount]) is None
    later = event("FailedMount", "timed out", "2026-01-01T00:00:03Z")
    assert find_stuck(pending(), [mount, pulling, later]) is not None


def test_a_scheduled_pod_is_not_told_of_what_the_scheduler_said_before() -> None:
    told = event("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.")
    assert find_stuck(pending(), [told]) is not None
    assert find_stuck(pending({"type": "PodScheduled", "status": "True"}), [told]) is None


def test_a_pod_in_a_queue_is_waited_for() -> None:
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": ""}
    found = find_stuck(pending(gated))
    assert found is not None
    assert found.patience == float("inf")


@pytest.mark.parametrize(
    ("reason", "message", "expected", "patience"),
    [
        (
            "FailedAttachVolume",
            'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) a',
            "other",
            400,
        ),
        ("FailedMount", "MountVolume.SetUp failed: mount failed: exit status 32", "cannot be mounted", 120),
        ("FailedMount", 'references non-existent secret: secret "s" not found', "no secret s", 30),
        ("FailedCreatePodSandBox", "failed to setup network for sandbox: no IP addresses available", "its node", 120),
    ],
)
def test_volumes_and_networks_are_given_time(reason: str, message: str, expected: str, patience: float) -> None:
    found = find_stuck(pending(), [event(reason, message)])
    assert found is not None
    assert expected.replace("other", "another node") in found.message
    assert found.patience == patience


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('storageclass.storage.k8s.io "x" not found', "no storage class x"),
        ("no persistent volumes available for this claim and no storage class is set", "no default storage class"),
        ("googleapi: Error 403: QUOTA_EXCEEDED - Quota 'SSD_TOTAL_GB' exceeded", "no room for the volume"),
        ("rpc error: volume access mode ReadWriteMany is not supported", "cannot make such a volume"),
        ("rpc error: something else", "cannot be made: rpc error: something else"),
    ],
)
def test_a_claim_that_is_not_made_is_explained(text: str, message: str) -> None:
    about = {"kind": "PersistentVolumeClaim", "name": "c", "uid": "9"}
    found = find_stuck(pending(), [event("ProvisioningFailed", text, **about)])
    assert found is not None
    assert message in found.message
    assert found.hint


CONFIG = [
    ('configmap "m" not found', "no configmap m"),
    ("container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root", "as root"),
    ('exec: "python3": executable file not found in $PATH', "has no python3"),
    ('exec: \\"/app/run\\": permission denied', "may not start /app/run"),
    ("exec user process caused: exec format error", "another kind of processor"),
    ("context deadline exceeded", "cannot be started: context deadline exceeded"),
]


@pytest.mark.parametrize(("text", "message"), CONFIG)
def test_a_container_that_cannot_be_made_is_explained(text: str, message: str) -> None:
    state = {"waiting": {"reason": "CreateContainerError", "message": text}}
    pod = pending()
    pod["status"]["containerStatuses"] = [{"name": "main", "image": "r/i:1", "state": state}]
    found = find_stuck(pod)
    assert found is not None
    assert message in found.message
    assert found.hint


def test_a_container_that_ends_again_and_again_is_told() -> None:
    pod = pending()
    pod["status"]["initContainerStatuses"] = [
        {"name": "init", "image": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    ]
    found = find_stuck(pod)
    assert found is not None
    assert "init ends again and again" in found.message


SCHEDULING = [
    ("0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu. preemption: 0/3 nodes …", "enough memory"),
    ("0/2 nodes are available: 2 node(s) had untolerated taint {nvidia.com/gpu: present}.", "nvidia.com/gpu: present"),
    ("0/2 nodes are available: 2 node(s) had taint {a: b}, that the pod didn't tolerate.", "by a taint a: b"),
    ("0/2 nodes are available: 2 node(s) had untolerated taint(s).", "by a taint"),
    ("0/2 nodes are available: 1 node(s) had volume node affinity conflict, 1 Insufficient cpu.", "its volume is on"),
    ("0/1 nodes are available: 1 node(s) were unschedulable.", "takes no new pods"),
    ("0/1 nodes are available: 1 Too many pods.", "as many pods"),
    ("0/1 nodes are available: 1 node(s) exceed max volume count.", "as many volumes"),
    ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "is not made"),
    ('0/1 nodes are available: persistentvolumeclaim "c" is being deleted.', "c is being deleted"),
    ("no nodes available to schedule pods", "has no node"),
    ("0/1 nodes are available: 1 node(s) had something new.", "1 node(s) had something new"),
]


@pytest.mark.parametrize(("text", "message"), SCHEDULING)
def test_what_the_scheduler_says_is_explained(text: str, message: str) -> None:
    found, hint, patience = explain_scheduling(text)
    assert message in found
    assert hint
    assert patience < 100
    assert explain_scheduling(text, grows=True)[2] == 900


def test_another_node_on_its_way_is_waited_for() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    found = find_stuck(pending(condition), [event("TriggeredScaleUp", "pod triggered scale-up: [{group 1->2}]")])
    assert found is not None
    assert found.patience == 900


PULLS = [
    ("toomanyrequests: You have reached your pull rate limit", "too many pulls", 60),
    ("no match for platform in manifest: not found", "another kind of processor", 0),
    ("http: server gave HTTP response to HTTPS client", "want https", 0),
    ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "do not trust", 0),
    ("pull access denied, repository does not exist or may require authorization", "may not pull", 0),
    ("unexpected status from HEAD request: 403 Forbidden", "may not pull", 0),
    ("manifest unknown: manifest unknown", "is not in its registry", 0),
    ("dial tcp 10.0.0.1:5000: connect: connection refused", "cannot reach registry r:5000", 60),
    ("write /var/lib/x: no space left on device", "has no room", 60),
    ("something new", "cannot be pulled: something new", 60),
]


@pytest.mark.parametrize(("text", "message", "patience"), PULLS)
def test_an_image_that_cannot_be_pulled_is_explained(text: str, message: str, patience: float) -> None:
    found, hint, allowed = explain_pull("r:5000/i@sha256:1", "ErrImagePull", text)
    assert message in found
    assert hint
    assert allowed == patience


def test_an_image_without_a_registry_is_of_docker_hub() -> None:
    assert "docker.io" in explain_pull("python", "ErrImagePull", "i/o timeout")[0]
