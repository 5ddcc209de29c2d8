"""Why a pod's volume, sandbox or container cannot be made, and what to do about it; pure."""

import re

SURE, SOON, SLOWLY = 0.0, 30.0, 120.0
"""Seconds that a reason may last: no hope; often passes in a moment; volumes and networks take their time."""


def explain_container(name: str, image: str, reason: str, message: str) -> tuple[str, str, float]:
    """Return message, hint and for how many seconds there is hope.

    reason: the kubelet's word. message: what the kubelet or the container runtime said.
    """
    missing = re.search(r'(secret|configmap) "([^"]+)" not found', message)
    if missing:
        return (
            f"there is no {missing[1]} {missing[2]} in its namespace",
            f"create it (kubectl create {missing[1]} generic {missing[2]} …), or correct the option `secrets`",
            SURE,
        )
    key = re.search(r"couldn't find key (\S+) in (\S+) (\S+)", message)
    if key:
        where = key[3].rpartition("/")[2]
        return f"the {key[2].lower()} {where} has no key {key[1]}", "correct the option `secrets`", SURE
    if "will run as root" in message or "non-numeric user" in message:
        return (
            f"image {image} runs as root, or names its user by a word, which this namespace does not allow",
            "end its Dockerfile with a number: USER 1000:1000",
            SURE,
        )
    if "exec format error" in message:
        return f"image {image} is for another kind of processor", "set IMAGE_PLATFORM, such as linux/amd64", SURE
    if "executable file not found" in message or "no such file or directory" in message:
        return (
            f"image {image} has no {_program(message)}",
            "its image must have python3 3.8 or newer on its PATH",
            SURE,
        )
    if "permission denied" in message:
        return f"image {image} may not start {_program(message)}", "correct its rights in the Dockerfile", SURE
    # Whatever else a runtime says may be over at the next of its attempts.
    return f"its container {name} cannot be started: {_line(message) or reason}", "see the message", SOON


def _program(message: str) -> str:
    found = re.search(r'exec: \\?"([^"\\]+)', message)
    return found[1] if found else "what it is told to start"


def explain_provisioning(text: str) -> tuple[str, str, float]:
    """Return message, hint and for how many seconds there is hope; text: what the volume's provisioner said."""
    unknown = re.search(r'storageclass\S* "([^"]+)" not found', text)
    if unknown:
        return (
            f"there is no storage class {unknown[1]}",
            "correct STORAGE_CLASS: `kubectl get storageclass` lists them; blank is the cluster's own choice",
            SOON,
        )
    if "no storage class is set" in text:
        return (
            "the cluster has no default storage class",
            "set STORAGE_CLASS: `kubectl get storageclass` lists them",
            SOON,
        )
    if re.search(r"access ?modes?|ReadWriteMany|NodePath only supports", text, re.IGNORECASE):
        return (
            f"the storage class cannot make such a volume: {_line(text)}",
            "leave ACCESS_MODE out: ReadWriteOnce works with every storage class",
            SOON,
        )
    if re.search(r"quota|limit|insufficient|exceed|no space|not enough", text, re.IGNORECASE):
        return f"no room for the volume: {_line(text)}", "lower STORAGE_SIZE, or choose another STORAGE_CLASS", SOON
    return (
        f"the volume cannot be made: {_line(text)}",
        "choose another STORAGE_CLASS, or ask who runs the cluster",
        SOON,
    )


def explain_mount(text: str) -> tuple[str, str, float]:
    """Return message, hint and for how many seconds there is hope; text: what the kubelet said of the pod's volumes."""
    missing = re.search(r'(secret|configmap|persistentvolumeclaim) "([^"]+)" not found', text)
    if missing:
        return (
            f"there is no {missing[1]} {missing[2]} in its namespace",
            "was it deleted while the run went on?",
            SOON,
        )
    if "Multi-Attach" in text or "already used by" in text or "already exclusively attached" in text:
        return (
            "its volume is in use on another node",
            "with ACCESS_MODE=ReadWriteOnce all steps must run on one node: see `node_selector`; or ReadWriteMany",
            400.0,  # a node that died is given up after six minutes
        )
    return (
        f"its volume cannot be mounted: {_line(text)}",
        "tell who runs the cluster, or choose another STORAGE_CLASS",
        SLOWLY,
    )


def explain_sandbox(text: str) -> tuple[str, str, float]:
    """Return message, hint and for how many seconds there is hope; text: what the kubelet said of the pod's sandbox."""
    return (
        f"its node cannot make pods: {_line(text)}",
        "the node's network or runtime is broken: tell who runs the cluster",
        SLOWLY,
    )


def _line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= 300 else f"{line[:299]}…"
