"""Why a pod does not get on, and what to do about it; pure.

A pod that cannot start waits for ever. The reasons are in its status and in the events of it and its claim, in
words of the scheduler, the kubelet and the container runtime, which differ between versions: what is looked for
here are words that Kubernetes 1.24 to 1.34 with containerd and CRI-O have in common.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.kube.creation import explain_container, explain_mount, explain_provisioning, explain_sandbox
from src.kube.pull import explain_pull
from src.kube.scheduling import explain_scheduling

Document = Mapping[str, Any]

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
    patience: float = 0.0


def find_stuck(pod: Document, events: Iterable[Document] = ()) -> Stuck | None:
    """Return what holds up a pod that has not started, or kept it from it; None: it runs, has run, or all is well yet.

    pod: as the API server shows it. events: those of the pod and of its claims, of which others are passed over.
    """
    status = pod.get("status") or {}
    for name, image, state in _states(status, "terminated"):
        if state.get("reason") in _NEVER_RAN:
            reason = str(state["reason"])
            return _stuck(reason, explain_container(name, image, reason, str(state.get("message") or "")))
    if status.get("phase") not in ("Pending", None) and not _waiting(status):
        return None
    events = _own(pod, events)
    for name, image, state in _waiting(status):
        reason, message = str(state.get("reason") or ""), str(state.get("message") or "")
        if reason in _PULL:
            told = [str(event.get("message") or "") for event in events if event.get("reason") in ("Failed", "BackOff")]
            return _stuck(reason, explain_pull(image, reason, "\n".join([message, *told])))
        if reason in _CONFIG:
            return _stuck(reason, explain_container(name, image, reason, message))
        if reason == "CrashLoopBackOff":
            return Stuck(reason=reason, message=f"its container {name} ends again and again", hint="see its log")
    return _unscheduled(status, events) or _unmounted(events)


def _stuck(reason: str, explanation: tuple[str, str, float]) -> Stuck:
    message, hint, patience = explanation
    return Stuck(reason=reason, message=message, hint=hint, patience=patience)


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
        return _stuck("ProvisioningFailed", explain_provisioning(claims[-1]))
    told = [str(event.get("message") or "") for event in events if event.get("reason") == "FailedScheduling"]
    text = text or (told[-1] if told else "")
    if not text:
        return None
    grows = any(event.get("reason") == "TriggeredScaleUp" for event in events)
    return _stuck("Unschedulable", explain_scheduling(text, grows=grows))


def _unmounted(events: Sequence[Document]) -> Stuck | None:
    for event in reversed(events):
        reason, text = str(event.get("reason") or ""), str(event.get("message") or "")
        if reason in ("SuccessfulAttachVolume", "Pulling", "Pulled", "Created", "Started"):
            return None  # what was before has passed
        if reason in _MOUNT:
            return _stuck(reason, explain_mount(text))
        if reason == "FailedCreatePodSandBox":
            return _stuck(reason, explain_sandbox(text))
    return None
