"""Why an image could not be pulled, and what to do about it; pure."""

import re
from typing import NamedTuple

PASSES = 60.0
"""Seconds in which a registry or a network may come back."""


class Cause(NamedTuple):
    """What a text that a pattern is found in means; patience is in seconds."""

    pattern: str
    message: str
    hint: str
    patience: float


def explain_pull(image: str, reason: str, text: str) -> tuple[str, str, float]:
    """Return message, hint and for how many seconds there is hope.

    reason: the kubelet's word. text: all that it and the container runtime said, in lines.
    """
    registry = image.partition("/")[0] if "/" in image else "docker.io"
    for pattern, message, hint, patience in _CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            words = {"image": image, "registry": registry}
            return message.format_map(words), hint.format_map(words), patience
    if reason == "InvalidImageName":
        return f"{image} is no name of an image", "correct REGISTRY and REGISTRY_NAMESPACE", 0.0
    if reason == "ErrImageNeverPull":
        return f"image {image} is not on the node, and is not to be pulled", "load it: IMAGE_LOAD_COMMAND", 0.0
    line = next((line.strip() for line in text.splitlines() if line.strip()), reason)
    return f"image {image} cannot be pulled: {line[:300]}", "try to pull it on a node of the cluster", PASSES


_CAUSES = (
    Cause(
        r"toomanyrequests|too many requests|rate limit",
        "registry {registry} lets nobody pull {image} for now: too many pulls",
        "log the cluster in: make a pull secret (kubectl create secret docker-registry …) and set IMAGE_PULL_SECRET",
        PASSES,
    ),
    Cause(
        r"no match for platform|no matching manifest",
        "image {image} is for another kind of processor",
        "set IMAGE_PLATFORM to the nodes' kind, such as linux/amd64",
        0.0,
    ),
    Cause(
        r"gave HTTP response to HTTPS client",
        "the nodes want https of registry {registry}, which has none",
        "use a registry with a certificate, or let the nodes' container runtime know it as an insecure one",
        0.0,
    ),
    Cause(
        r"x509|certificate|tls: ",
        "the nodes do not trust the certificate of registry {registry}",
        "give its CA to the nodes' container runtime, or use another REGISTRY",
        0.0,
    ),
    Cause(
        r"no space left on device|disk pressure", "the node's disk has no room for image {image}", "free the node", 60.0
    ),
    Cause(
        # A registry that hides what it has says denied for what is not there too.
        r"unauthorized|authorization failed|authentication required|no basic auth|insufficient_scope|denied|"
        r"\b40[13]\b|forbidden",
        "the cluster may not pull image {image}",
        "make a pull secret in the namespace (kubectl create secret docker-registry …) and set IMAGE_PULL_SECRET; "
        "or make the repository public",
        0.0,
    ),
    Cause(
        r"not ?found|manifest unknown|name unknown|does not exist|unknown manifest",
        "image {image} is not in its registry, as the cluster sees it",
        "does REGISTRY mean the same registry from the cluster's nodes? If it was removed there, give --rebuild",
        0.0,
    ),
    Cause(
        r"dial tcp|no such host|lookup |i/o timeout|connection refused|network is unreachable|no route to host|"
        r"deadline exceeded|server misbehaving|EOF|reset by peer",
        "the cluster's nodes cannot reach registry {registry}",
        "choose a REGISTRY that they reach: localhost and 127.0.0.1 mean the node itself",
        PASSES,
    ),
)
