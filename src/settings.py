"""Settings, from the environment and .env; the only user of dotenv."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from src.errors import ConfigError
from src.quantities import parse_duration

ROOT = Path(__file__).resolve().parent.parent
"""The tool's own folder: .env, components/ and src/ are found beside the program, never by the current directory."""

SECRETS = frozenset({"REGISTER_PASSWORD", "DEX_PASSWORD", "KFP_TOKEN"})
"""Settings that no component and no message may see."""

POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""In a pod: the file that names its namespace."""

DEFAULT_NAMESPACE = "team-1"
"""The namespace of deployKF's first user."""

_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user set; None where nothing was. Paths are absolute."""

    components_dir: Path | None = None
    cache_dir: Path
    output_dir: Path | None = None
    kfp_api_url: str | None = None
    kfp_token: str | None = field(default=None, repr=False)
    kfp_token_file: Path | None = None
    kfp_ca_cert: Path | None = None
    kfp_skip_tls_verify: bool = False
    dex_username: str | None = None
    dex_password: str | None = field(default=None, repr=False)
    dex_auth_type: str | None = None
    kube_namespace: str = DEFAULT_NAMESPACE
    run_timeout: float | None = None  # seconds
    docker_host: str | None = None


def load_settings(env_file: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read settings from environ, then from env_file (default: .env beside the program).

    Blank values count as unset. Raises ConfigError when a named env_file is missing or cannot be read.
    """
    values = {**_read_env_file(env_file), **{k: v for k, v in environ.items() if v.strip()}}

    def path(name: str) -> Path | None:
        return Path(values[name].strip()).expanduser().absolute() if values.get(name, "").strip() else None

    home_cache = Path(environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache").expanduser()
    return Settings(
        components_dir=path("COMPONENTS_DIR"),
        cache_dir=path("CACHE_DIR") or home_cache.absolute() / "autopipe",
        output_dir=path("OUTPUT_DIR"),
        kfp_api_url=values.get("KFP_API_URL", "").strip() or None,
        kfp_token=values.get("KFP_TOKEN", "").strip() or None,
        kfp_token_file=path("KFP_TOKEN_FILE"),
        kfp_ca_cert=path("KFP_CA_CERT"),
        kfp_skip_tls_verify=_switch(values, "KFP_SKIP_TLS_VERIFY"),
        dex_username=values.get("DEX_USERNAME", "").strip() or None,
        dex_password=values.get("DEX_PASSWORD"),  # blanks at its ends may belong to it
        dex_auth_type=values.get("DEX_AUTH_TYPE", "").strip() or None,
        kube_namespace=values.get("KUBE_NAMESPACE", "").strip() or _pod_namespace() or DEFAULT_NAMESPACE,
        run_timeout=_duration(values, "RUN_TIMEOUT"),
        docker_host=values.get("DOCKER_HOST", "").strip() or None,
    )


def _switch(values: Mapping[str, str], name: str) -> bool:
    text = values.get(name, "false").strip().lower()
    if text not in _SWITCH:
        raise ConfigError(f"{name} is neither true nor false: {text}", hint=f"write {name}=true, or leave it out")
    return _SWITCH[text]


def _duration(values: Mapping[str, str], name: str) -> float | None:
    text = values.get(name, "").strip()
    seconds = parse_duration(text)
    if text and not seconds:
        raise ConfigError(f"{name} is no duration: {text}", hint=f"write it like this: {name}=90m, or 12h")
    return seconds


def _pod_namespace() -> str:
    try:
        return POD_NAMESPACE.read_text().strip()
    except OSError:
        return ""


def _read_env_file(env_file: Path | None) -> dict[str, str]:
    path = env_file or ROOT / ".env"
    if not path.exists():
        if env_file is None:
            return {}
        raise ConfigError(f"no such settings file: {path}", hint="give --env-file an existing file")
    from dotenv import dotenv_values  # noqa: TID251  # this is the door

    try:
        return {k: v for k, v in dotenv_values(path, interpolate=False).items() if v and v.strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read settings file {path}: {error}", hint="it must be a text file of NAME=value lines"
        ) from error
