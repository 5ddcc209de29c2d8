"""Values of settings as people write them; each function raises ConfigError that names the setting."""

import re
import shlex
from collections.abc import Mapping

from src.errors import ConfigError
from src.quantities import parse_duration, parse_size

Values = Mapping[str, str]

_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"})
_HOST = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_PLATFORM = re.compile(r"linux/(?:amd64|arm64|arm|386|ppc64le|s390x|riscv64)(?:/v[0-9])?")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")

_ACCESS_MODES = {
    "readwriteonce": "ReadWriteOnce",
    "rwo": "ReadWriteOnce",
    "readwritemany": "ReadWriteMany",
    "rwx": "ReadWriteMany",
}

HUB = "docker.io"
"""The name of Docker Hub in image references."""


def read_text(values: Values, name: str) -> str | None:
    """Return a setting without the blanks at its ends, None when it is unset."""
    return values.get(name, "").strip() or None


def read_switch(values: Values, name: str) -> bool:
    """Return true or false, as many ways as people write it; false when it is unset."""
    text = (read_text(values, name) or "false").lower()
    if text not in _SWITCH:
        raise ConfigError(f"{name} is neither true nor false: {text}", hint=f"write {name}=true, or leave it out")
    return _SWITCH[text]


def read_duration(values: Values, name: str) -> float | None:
    """Return seconds."""
    text = read_text(values, name) or ""
    seconds = parse_duration(text)
    if text and not seconds:
        raise ConfigError(f"{name} is no duration: {text}", hint=f"write it like this: {name}=90m, or 12h")
    return seconds


def read_count(values: Values, name: str) -> int | None:
    """Return a whole number above 0."""
    text = read_text(values, name)
    if text is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise ConfigError(f"{name} is no number from 1 to 9999: {text}", hint=f"write {name}=4, or leave it out")
    return int(text)


def read_size(values: Values, name: str) -> int | None:
    """Return bytes."""
    text = read_text(values, name) or ""
    size = parse_size(text)
    if text and not size:
        raise ConfigError(f"{name} is no size: {text}", hint=f"write it like this: {name}=20Gi")
    return size


def read_access_mode(values: Values) -> str:
    """Return ACCESS_MODE as Kubernetes spells it."""
    text = read_text(values, "ACCESS_MODE") or "rwo"
    if text.lower() in ("readwriteoncepod", "rwop"):
        raise ConfigError(
            f"with ACCESS_MODE={text} only one pod at a time could use the volume",
            hint="write ACCESS_MODE=ReadWriteOnce: all pods on one node",
        )
    if text.lower() not in _ACCESS_MODES:
        raise ConfigError(
            f"ACCESS_MODE is neither ReadWriteOnce nor ReadWriteMany: {text}",
            hint="leave it out: ReadWriteOnce works with every storage class",
        )
    return _ACCESS_MODES[text.lower()]


def read_choice(values: Values, name: str, choices: tuple[str, ...]) -> str:
    """Return one of some words, the first when the setting is unset."""
    text = (read_text(values, name) or choices[0]).lower()
    if text not in choices:
        raise ConfigError(f"{name} is neither {' nor '.join(choices)}: {text}", hint=f"write {name}={choices[0]}")
    return text


def read_registry(values: Values) -> tuple[str, str | None]:
    """Return REGISTRY as image references have it, host[:port], and the path of image names that it or
    REGISTRY_NAMESPACE gives.
    """
    text = re.sub(r"^[a-z]+://", "", read_text(values, "REGISTRY") or HUB).rstrip("/")
    host, _, path = text.partition("/")
    if host in _HUB:
        host, path = HUB, re.sub(r"^v[12]/?", "", path)
    elif not _HOST.fullmatch(host) or not (re.search(r"[.:]", host) or host == "localhost"):
        # An image's name begins with a registry only if it looks like one: else it would be one of Docker Hub.
        raise ConfigError(
            f"REGISTRY is no registry's name: {text}", hint="write its host, with a port where it needs one"
        )
    named = (read_text(values, "REGISTRY_NAMESPACE") or "").strip("/")
    namespace = "/".join(part for part in (path, named) if part)
    if namespace and not _PATH.fullmatch(namespace):
        raise ConfigError(
            f"REGISTRY_NAMESPACE cannot be part of an image's name: {namespace}",
            hint="it has lower-case letters and digits, with . _ - and / between them",
        )
    return host, namespace or None


def read_platform(values: Values) -> str | None:
    """Return IMAGE_PLATFORM, os/architecture[/variant]."""
    text = (read_text(values, "IMAGE_PLATFORM") or "").lower()
    if text and not _PLATFORM.fullmatch(text):
        raise ConfigError(
            f"IMAGE_PLATFORM is no platform: {text}", hint="write IMAGE_PLATFORM=linux/amd64, or linux/arm64"
        )
    return text or None


def read_build_args(values: Values) -> dict[str, str]:
    """Return BUILD_ARGS, NAME=value words with shell quotes; a NAME alone takes the value of that setting."""
    text = read_text(values, "BUILD_ARGS") or ""
    hint = "write BUILD_ARGS=\"NAME=value OTHER='a b'\""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"BUILD_ARGS cannot be read: {error}", hint=hint) from error
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ConfigError(f"BUILD_ARGS has a word that is no NAME=value: {name}", hint=hint)
        if not equals and name not in values:
            raise ConfigError(f"BUILD_ARGS names {name}, which is not set", hint=f"set {name}, or write {name}=value")
        found[name] = value if equals else values[name]
    return found


def read_proxies(values: Values) -> dict[str, str]:
    """Return the proxy variables that are set, under their names in upper and lower case as they are set."""
    names = [name for upper in _PROXIES for name in (upper, upper.lower())]
    return {name: values[name].strip() for name in names if values.get(name, "").strip()}
