"""Why the scheduler finds no node for a pod, and what to do about it; pure."""

import re

from src.kube.pull import Cause

OTHERS = 60.0
"""Seconds in which other pods may end and leave their room."""
GROWTH = 900.0
"""Seconds that a cluster may take to get another node."""


def explain_scheduling(text: str, *, grows: bool = False) -> tuple[str, str, float]:
    """Return message, hint and for how many seconds there is hope.

    text: the scheduler's, `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) …`. grows: an autoscaler has
    said that another node is on its way.
    """
    text = re.sub(r"\s*preemption: .*", "", text, flags=re.DOTALL)
    for pattern, message, hint, patience in _CAUSES:
        found = re.search(pattern, text)
        if found:
            words = [word or "" for word in found.groups()] or [""]
            return message.format(*words), hint.format(*words), max(patience, GROWTH if grows else 0.0)
    reasons = text.partition(": ")[2] or text
    return f"no node of the cluster takes it: {reasons.strip()[:300]}", "see the reasons", GROWTH if grows else OTHERS


_CAUSES = (
    Cause(
        r'persistentvolumeclaim "([^"]+)" not found',
        "its claim {0} is gone",
        "was it deleted? Give the same command again: it makes a new one",
        5.0,
    ),
    Cause(
        r'persistentvolumeclaim "([^"]+)" (?:is being deleted|not bound|bound to non-existent)',
        "its claim {0} is being deleted, or is broken",
        "give the same command again: it makes a new one",
        30.0,
    ),
    Cause(
        r"volume node affinity conflict",
        "its volume is on a node where it may not run, or that has no room",
        "with ACCESS_MODE=ReadWriteOnce all steps run on one node: make `node_selector` the same for all, lower `cpu` "
        "and `memory`, or set ACCESS_MODE=ReadWriteMany with a STORAGE_CLASS that can do it",
        OTHERS,
    ),
    Cause(
        r"Insufficient (\S*gpu\S*?)[,. ]",
        "no node has a free GPU ({0})",
        "lower the option `gpu`, wait for others to end, or add a node with one; its taints need `tolerations`",
        OTHERS,
    ),
    Cause(
        r"Insufficient ([a-z0-9./-]+?)[,. ]",
        "no node has enough {0} free",
        "lower the options `cpu` and `memory`, or wait for others to end: `kubectl describe nodes` shows what is free",
        OTHERS,
    ),
    Cause(
        r"didn't match Pod's node (?:affinity/selector|affinity|selector)",
        "no node has the labels of its option `node_selector`",
        "correct `node_selector`: `kubectl get nodes --show-labels` lists what there is",
        10.0,
    ),
    Cause(
        r"unschedulable|cordoned",
        "its node takes no new pods",
        "uncordon the node (kubectl uncordon), or wait until it is back",
        OTHERS,
    ),
    Cause(
        r"had (?:untolerated )?taints?(?:\(s\))?(?: \{([^}]*)\})?",
        "the nodes are reserved for others by a taint {0}",
        "if it is for these steps, tolerate it with the option `tolerations`",
        OTHERS,
    ),
    Cause(
        r"unbound immediate PersistentVolumeClaims|didn't find available persistent volumes",
        "its volume is not made",
        "`kubectl describe pvc` says why; STORAGE_CLASS chooses another class",
        OTHERS,
    ),
    Cause(
        r"Too many pods",
        "the nodes have as many pods as they take",
        "wait for others to end, or delete old pods",
        OTHERS,
    ),
    Cause(r"max volume count", "the node has as many volumes as it takes", "wait for others to end", OTHERS),
    Cause(r"no nodes available", "the cluster has no node", "is the cluster being set up?", OTHERS),
)
