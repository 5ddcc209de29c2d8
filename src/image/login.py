"""Who the user is at a registry: the settings' word, else the docker command's logins with their helpers; read only."""

import base64
import binascii
import functools
import json
import logging
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.engine_place import read_docker_config
from src.errors import ConfigError
from src.setting_values import HUB
from src.settings import Settings

log = logging.getLogger("autopipe")
HUB_KEY = "https://index.docker.io/v1/"
"""What the docker command files its login to Docker Hub under."""

PATIENCE = 60
"""Seconds for a credential helper, which may ask the user to unlock something."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """A user at one registry: with a password, or with the token that a login left."""

    registry: str
    username: str
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)  # an identity token: the password is not known
    source: str  # for messages

    @property
    def auth_config(self) -> dict[str, str]:
        """The login as the engine takes it with a call."""
        server = HUB_KEY if self.registry == HUB else self.registry
        if self.token:
            return {"identitytoken": self.token, "serveraddress": server}
        return {"username": self.username, "password": self.password, "serveraddress": server}


def find_login(registry: str, settings: Settings) -> Login | None:
    """Return the login for a registry, None when there is none."""
    if registry == settings.registry and settings.register_username and settings.register_password:
        return Login(
            registry=registry,
            username=settings.register_username,
            password=settings.register_password,
            source="REGISTER_USERNAME",
        )
    return _docker_login(registry, settings)


def find_push_login(settings: Settings) -> Login | None:
    """Return the login for pushing to REGISTRY; None where nobody is logged in, which some registries allow.

    Raises ConfigError for half a login in the settings that none of the docker command's completes.
    """
    login, wanted = find_login(settings.registry, settings), settings.register_username
    if wanted and (login is None or (login.username and login.username != wanted)):
        raise ConfigError(
            f"REGISTER_USERNAME is set to {wanted}, but REGISTER_PASSWORD is not set",
            hint=f"set REGISTER_PASSWORD, or log in: docker login {settings.registry} -u {wanted}",
        )
    return login


def _docker_login(registry: str, settings: Settings) -> Login | None:
    config = read_docker_config(settings)
    key = HUB_KEY if registry == HUB else registry
    helpers = _mapping(config, "credHelpers")
    helper = helpers.get(registry) or helpers.get(key) or config.get("credsStore")
    if isinstance(helper, str) and helper and (found := _ask_helper(helper, key)):
        return _make_login(registry, *found, f"docker-credential-{helper}")
    for name, entry in _mapping(config, "auths").items():
        if _host_of(name) == registry and isinstance(entry, dict):
            login = _read_entry(registry, entry, f"{settings.docker_config / 'config.json'}")
            if login:
                return login
    return None


def _mapping(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _host_of(name: str) -> str:
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return HUB if host in ("index.docker.io", "registry-1.docker.io") else host


def _read_entry(registry: str, entry: Mapping[str, Any], source: str) -> Login | None:
    try:
        username, _, password = base64.b64decode(entry.get("auth") or "", validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, TypeError):
        log.warning("%s has a login to %s that cannot be read: log in again", source, registry)
        return None
    token = entry.get("identitytoken") or ""
    if token:
        return Login(registry=registry, username=username, token=str(token), source=source)
    return Login(registry=registry, username=username, password=password, source=source) if username else None


def _make_login(registry: str, username: str, secret: str, source: str) -> Login:
    if username == "<token>":  # how helpers say that the secret is an identity token
        return Login(registry=registry, username="", token=secret, source=source)
    return Login(registry=registry, username=username, password=secret, source=source)


@functools.cache
def _ask_helper(helper: str, key: str) -> tuple[str, str] | None:
    """Return user and secret from docker-credential-HELPER, None when it has none for that registry.

    Its protocol is that of docker-credential-helpers: the registry goes in on stdin, JSON comes out.
    """
    name = f"docker-credential-{helper}"
    program = shutil.which(name)
    if program is None:
        log.warning(
            "docker's configuration names docker-credential-%s, which is not installed: going on without", helper
        )
        return None
    try:
        done = subprocess.run(
            [program, "get"], input=key, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        if done.returncode:
            if "not found" not in done.stdout + done.stderr:
                log.warning("%s failed: %s", name, (done.stdout + done.stderr).strip()[:200])
            return None
        answer = json.loads(done.stdout)
        found = str(answer["Username"]), str(answer["Secret"])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        log.warning("%s does not answer as it should: %s", name, type(error).__name__)
        return None
    return found if all(found) else None
