"""Why a pod does not get on, and what to do about it; pure.

A pod that cannot start waits for ever. The reasons are in its status and in the events of it and its claim, in
words of the scheduler, the kubelet and the container runtime, which differ between versions: what is looked for
here are words that Kubernetes 1.24 to 1.34 with containerd and CRI-O have in common.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.kube.pull import explain_pull
from src.kube.scheduling import explain_scheduling

Document = Mapping[str, Any]

SURE, SOON, SLOWLY = 0.0, 30.0, 120.0
"""Seconds that a reason may last: no hope; often passes in a moment; volumes and networks take their time."""

_PULL = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"})
_NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
_MOUNT = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """What holds a pod up. patience: for how many seconds after it was first seen there is hope."""

    reason: str  # a word of Kubernetes'
    message: str
    hint: str
    patience: float = SURE


def find_stuck(pod: Document, events: Iterable[Document] = ()) -> Stuck | None:
    """Return what holds up a pod that has not started, or kept it from it; None: it runs, has run, or all is well yet.

    pod: as the API server shows it. events: those of the pod and of its claims, of which others are passed over.
    """
    status = pod.get("status") or {}
    for name, image, state in _states(status, "terminated"):
        if state.get("reason") in _NEVER_RAN:
            return _explain_config(name, image, str(state["reason"]), str(state.get("message") or ""))
    if status.get("phase") not in ("Pending", None) and not _waiting(status):
        return None
    events = _own(pod, events)
    for name, image, state in _waiting(status):
        reason, message = str(state.get("reason") or ""), str(state.get("message") or "")
        if reason in _PULL:
            told = [str(event.get("message") or "") for event in events if event.get("reason") in ("Failed", "BackOff")]
            why, hint, patience = explain_pull(image, reason, "\n".join([message, *told]))
            return Stuck(reason=reason, message=why, hint=hint, patience=patience)
        if reason in _CONFIG:
            return _explain_config(name, image, reason, message)
        if reason == "CrashLoopBackOff":
            return Stuck(reason=reason, message=f"its container {name} ends again and again", hint="see its log")
    return _unscheduled(status, events) or _unmounted(events)


def _states(status: Document, kind: str) -> list[tuple[str, str, Document]]:
    """Return (container, image, state) of the containers that are in a kind of state."""
    found = []
    for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        state = (one.get("state") or {}).get(kind)
        if state:
            found.append((str(one.get("name")), str(one.get("image") or ""), state))
    return found


def _waiting(status: Document) -> list[tuple[str, str, Document]]:
    calm = (None, "ContainerCreating", "PodInitializing")
    return [found for found in _states(status, "waiting") if found[2].get("reason") not in calm]


def _own(pod: Document, events: Iterable[Document]) -> list[Document]:
    """Return the events of the pod and its claims, the latest last."""
    metadata = pod.get("metadata") or {}
    names = {
        str((volume.get("persistentVolumeClaim") or {}).get("claimName"))
        for volume in (pod.get("spec") or {}).get("volumes") or ()
    }

    def is_own(event: Document) -> bool:
        about = event.get("involvedObject") or {}
        if about.get("kind") == "Pod" and about.get("name") == metadata.get("name"):
            return about.get("uid") in (None, metadata.get("uid"))
        return about.get("kind") == "PersistentVolumeClaim" and about.get("name") in names

    return sorted(filter(is_own, events), key=_moment)


def _moment(event: Document) -> str:
    series = event.get("series") or {}
    for text in (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime")):
        if text:
            return str(text)
    return str((event.get("metadata") or {}).get("creationTimestamp") or "")


def _explain_config(name: str, image: str, reason: str, message: str) -> Stuck:
    def stuck(text: str, hint: str, patience: float = SURE) -> Stuck:
        return Stuck(reason=reason, message=text, hint=hint, patience=patience)

    missing = re.search(r'(secret|configmap) "([^"]+)" not found', message)
    if missing:
        return stuck(
            f"there is no {missing[1]} {missing[2]} in its namespace",
            f"create it (kubectl create {missing[1]} generic {missing[2]} …), or correct the option `secrets`",
        )
    key = re.search(r"couldn't find key (\S+) in (\S+) (\S+)", message)
    if key:
        where = key[3].rpartition("/")[2]
        return stuck(f"the {key[2].lower()} {where} has no key {key[1]}", "correct the option `secrets`")
    if "will run as root" in message or "non-numeric user" in message:
        return stuck(
            f"image {image} runs as root, or names its user by a word, which this namespace does not allow",
            "end its Dockerfile with a number: USER 1000:1000",
        )
    if "exec format error" in message:
        return stuck(f"image {image} is for another kind of processor", "set IMAGE_PLATFORM, such as linux/amd64")
    if "executable file not found" in message or "no such file or directory" in message:
        return stuck(
            f"image {image} has no {_program(message)}", "its image must have python3 3.8 or newer on its PATH"
        )
    if "permission denied" in message:
        return stuck(f"image {image} may not start {_program(message)}", "correct its rights in the Dockerfile")
    # Whatever else a runtime says may be over at the next of its attempts.
    return stuck(f"its container {name} cannot be started: {_line(message) or reason}", "see the message", SOON)


def _program(message: str) -> str:
    found = re.search(r'exec: \\?"([^"\\]+)', message)
    return found[1] if found else "what it is told to start"


def _unscheduled(status: Document, events: Sequence[Document]) -> Stuck | None:
    text = ""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            text = str(condition.get("message") or "")
            if condition.get("reason") == "SchedulingGated":
                return Stuck(
                    reason="SchedulingGated",
                    message="it is held back by a queue of the cluster",
                    hint="see the queue's own tool (Kueue: kubectl get workloads)",
                    patience=float("inf"),
                )
    scheduled = any(
        condition.get("type") == "PodScheduled" and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )
    if scheduled:
        return None
    claims = [str(event.get("message") or "") for event in events if event.get("reason") == "ProvisioningFailed"]
    if claims:
        message, hint = _explain_provisioning(claims[-1])
        return Stuck(reason="ProvisioningFailed", message=message, hint=hint, patience=SOON)
    told = [str(event.get("message") or "") for event in events if event.get("reason") == "FailedScheduling"]
    text = text or (told[-1] if told else "")
    if not text:
        return None
    grows = any(event.get("reason") == "TriggeredScaleUp" for event in events)
    message, hint, patience = explain_scheduling(text, grows=grows)
    return Stuck(reason="Unschedulable", message=message, hint=hint, patience=patience)


def _explain_provisioning(text: str) -> tuple[str, str]:
    unknown = re.search(r'storageclass\S* "([^"]+)" not found', text)
    if unknown:
        return (
            f"there is no storage class {unknown[1]}",
            "correct STORAGE_CLASS: `kubectl get storageclass` lists them; blank is the cluster's own choice",
        )
    if "no storage class is set" in text:
        return "the cluster has no default storage class", "set STORAGE_CLASS: `kubectl get storageclass` lists them"
    if re.search(r"access ?modes?|ReadWriteMany|NodePath only supports", text, re.IGNORECASE):
        return (
            f"the storage class cannot make such a volume: {_line(text)}",
            "leave ACCESS_MODE out: ReadWriteOnce works with every storage class",
        )
    if re.search(r"quota|limit|insufficient|exceed|no space|not enough", text, re.IGNORECASE):
        return f"no room for the volume: {_line(text)}", "lower STORAGE_SIZE, or choose another STORAGE_CLASS"
    return f"the volume cannot be made: {_line(text)}", "choose another STORAGE_CLASS, or ask who runs the cluster"


def _unmounted(events: Sequence[Document]) -> Stuck | None:
    for event in reversed(events):
        reason, text = str(event.get("reason") or ""), str(event.get("message") or "")
        if reason in ("SuccessfulAttachVolume", "Pulling", "Pulled", "Created", "Started"):
            return None  # what was before has passed
        if reason in _MOUNT:
            return _explain_mount(reason, text)
        if reason == "FailedCreatePodSandBox":
            return Stuck(
                reason=reason,
                message=f"its node cannot make pods: {_line(text)}",
                hint="the node's network or runtime is broken: tell who runs the cluster",
                patience=SLOWLY,
            )
    return None


def _explain_mount(reason: str, text: str) -> Stuck:
    missing = re.search(r'(secret|configmap|persistentvolumeclaim) "([^"]+)" not found', text)
    if missing:
        message, hint = (
            f"there is no {missing[1]} {missing[2]} in its namespace",
            "was it deleted while the run went on?",
        )
        return Stuck(reason=reason, message=message, hint=hint, patience=SOON)
    if "Multi-Attach" in text or "already used by" in text or "already exclusively attached" in text:
        return Stuck(
            reason=reason,
            message="its volume is in use on another node",
            hint="with ACCESS_MODE=ReadWriteOnce all steps must run on one node: see `node_selector`; or ReadWriteMany",
            patience=400.0,  # a node that died is given up after six minutes
        )
    return Stuck(
        reason=reason,
        message=f"its volume cannot be mounted: {_line(text)}",
        hint="tell who runs the cluster, or choose another STORAGE_CLASS",
        patience=SLOWLY,
    )


def _line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= 300 else f"{line[:299]}…"
