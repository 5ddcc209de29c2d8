"""The rights that a run needs in its namespace, and which of them the user has."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from src.kube.cluster import Cluster
from src.step import Record

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, kw_only=True)
class Right:
    """A right, and what a run does with it. instead: what is done without it; "" when there is no run without it."""

    verb: str
    resource: str  # as RBAC writes it: pods, pods/proxy
    purpose: str
    instead: str = ""
    group: str = ""
    everywhere: bool = False  # not a matter of the namespace

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


_EXEC = "files travel over pods/exec, more slowly"

RIGHTS: Final = (
    Right(verb="create", resource="persistentvolumeclaims", purpose="the volume"),
    Right(verb="get", resource="persistentvolumeclaims", purpose="the volume"),
    Right(verb="list", resource="persistentvolumeclaims", purpose="waiting for the volume"),
    Right(verb="watch", resource="persistentvolumeclaims", purpose="waiting for the volume"),
    Right(verb="delete", resource="persistentvolumeclaims", purpose="removing the volume"),
    Right(
        verb="patch",
        resource="persistentvolumeclaims",
        purpose="the date that a kept volume may be removed at",
        instead="a kept volume has no date",
    ),
    Right(verb="create", resource="pods", purpose="the helper pod, which fills and empties the volume"),
    Right(verb="get", resource="pods", purpose="the helper pod"),
    Right(verb="list", resource="pods", purpose="seeing why a step does not start"),
    Right(verb="watch", resource="pods", purpose="waiting for the helper pod"),
    Right(verb="delete", resource="pods", purpose="removing the pods of a run, which hold its volume"),
    Right(verb="get", resource="pods/proxy", purpose="downloads", instead=_EXEC),
    Right(verb="create", resource="pods/proxy", purpose="uploads", instead=_EXEC),
    # A WebSocket is asked for with GET; Kubernetes 1.35 wants the right to create as well.
    Right(verb="get", resource="pods/exec", purpose="file transfer without pods/proxy", instead="pods/proxy is used"),
    Right(
        verb="create", resource="pods/exec", purpose="file transfer without pods/proxy", instead="pods/proxy is used"
    ),
    Right(
        verb="get",
        resource="pods/log",
        purpose="what a pod printed that never came to its step",
        instead="only logs on the volume are shown",
    ),
    Right(verb="list", resource="events", purpose="why a pod waits", instead="only the pod's own state is shown"),
    Right(
        verb="list",
        resource="storageclasses",
        group="storage.k8s.io",
        everywhere=True,
        purpose="checking STORAGE_CLASS beforehand",
        instead="a wrong one shows when the run starts",
    ),
)


def missing_rights(cluster: Cluster, rights: Sequence[Right] = RIGHTS) -> list[Right]:
    """Return those that the user does not have; raises RunError when the cluster cannot be asked."""
    with ThreadPoolExecutor(8) as pool:
        allowed = list(pool.map(lambda right: _is_allowed(cluster, right), rights))
    return [right for right, has in zip(rights, allowed, strict=True) if not has]


def _is_allowed(cluster: Cluster, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes: Record = {"verb": right.verb, "group": right.group, "resource": resource, "subresource": subresource}
    if not right.everywhere:
        attributes["namespace"] = cluster.namespace
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = cluster.ask("POST", REVIEWS, f"ask for the right to {right}", body=body)
    return bool((answer.get("status") or {}).get("allowed"))


def no_way(missing: Sequence[Right]) -> list[Right]:
    """Return the missing rights without which no run is possible; pure."""
    names = {str(right) for right in missing}
    fatal = [right for right in missing if not right.instead]
    if {"get pods/exec", "create pods/exec"} & names and any(right.resource == "pods/proxy" for right in missing):
        fatal += [right for right in missing if right.resource in ("pods/proxy", "pods/exec")]
    return fatal
