"""Settings, from the environment and .env; the only user of dotenv."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from src.errors import ConfigError
from src.setting_values import (
    HUB,
    read_access_mode,
    read_build_args,
    read_choice,
    read_count,
    read_duration,
    read_platform,
    read_proxies,
    read_registry,
    read_size,
    read_switch,
    read_text,
)

ROOT = Path(__file__).resolve().parent.parent
"""The tool's own folder: .env, components/ and src/ are found beside the program, never by the current directory."""

SECRETS = frozenset({"REGISTER_PASSWORD", "DEX_PASSWORD", "KFP_TOKEN", "BUILD_ARGS"})
"""Settings that no component and no message may see."""

POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""In a pod: the file that names its namespace."""

DEFAULT_NAMESPACE = "team-1"
"""The namespace of deployKF's first user."""

DEFAULT_BASE_IMAGE = "python:3.11-slim"


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
    kubeconfig: str | None = None  # one path, or several as kubectl takes them
    kube_context: str | None = None
    storage_class: str | None = None
    storage_size: int | None = None  # bytes
    access_mode: str = "ReadWriteOnce"
    run_timeout: float | None = None  # seconds
    keep_volume: bool = False
    detach: bool = False  # leave the run once it is submitted
    image_load_command: str | None = None
    image_pull_secret: str | None = None
    docker_host: str | None = None
    docker_context: str | None = None
    docker_config: Path = field(default_factory=lambda: Path("~/.docker").expanduser())  # read, never written
    docker_cert_path: Path | None = None  # set when the engine at docker_host is to be spoken to with TLS
    runtime_dir: Path | None = None  # where a user's own services have their sockets
    registry: str = HUB
    registry_namespace: str | None = None
    register_username: str | None = None
    register_password: str | None = field(default=None, repr=False)
    base_image: str = DEFAULT_BASE_IMAGE
    image_platform: str | None = None
    build_jobs: int | None = None
    rebuild: bool = False  # set by stage 3 alone: make images anew whatever is there
    build_args: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    media_transport: str = "volume"


def load_settings(env_file: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read settings from environ, then from env_file (default: .env beside the program).

    Blank values count as unset. Raises ConfigError when a named env_file is missing or cannot be read.
    """
    values = {**_read_env_file(env_file), **{k: v for k, v in environ.items() if v.strip()}}

    def path(name: str) -> Path | None:
        return Path(values[name].strip()).expanduser().absolute() if values.get(name, "").strip() else None

    home_cache = Path(environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache").expanduser()
    docker_config = path("DOCKER_CONFIG") or Path("~/.docker").expanduser().absolute()
    certificates = path("DOCKER_CERT_PATH") or docker_config
    registry, namespace = read_registry(values)
    return Settings(
        components_dir=path("COMPONENTS_DIR"),
        cache_dir=path("CACHE_DIR") or home_cache.absolute() / "autopipe",
        output_dir=path("OUTPUT_DIR"),
        kfp_api_url=read_text(values, "KFP_API_URL"),
        kfp_token=read_text(values, "KFP_TOKEN"),
        kfp_token_file=path("KFP_TOKEN_FILE"),
        kfp_ca_cert=path("KFP_CA_CERT"),
        kfp_skip_tls_verify=read_switch(values, "KFP_SKIP_TLS_VERIFY"),
        dex_username=read_text(values, "DEX_USERNAME"),
        dex_password=values.get("DEX_PASSWORD"),  # blanks at its ends may belong to it
        dex_auth_type=read_text(values, "DEX_AUTH_TYPE"),
        kube_namespace=read_text(values, "KUBE_NAMESPACE") or _pod_namespace() or DEFAULT_NAMESPACE,
        kubeconfig=read_text(values, "KUBECONFIG"),
        kube_context=read_text(values, "KUBE_CONTEXT"),
        storage_class=read_text(values, "STORAGE_CLASS"),
        storage_size=read_size(values, "STORAGE_SIZE"),
        access_mode=read_access_mode(values),
        run_timeout=read_duration(values, "RUN_TIMEOUT"),
        image_load_command=read_text(values, "IMAGE_LOAD_COMMAND"),
        image_pull_secret=read_text(values, "IMAGE_PULL_SECRET"),
        docker_host=read_text(values, "DOCKER_HOST"),
        docker_context=read_text(values, "DOCKER_CONTEXT"),
        docker_config=docker_config,
        docker_cert_path=certificates if read_text(values, "DOCKER_TLS_VERIFY") else None,
        runtime_dir=path("XDG_RUNTIME_DIR"),
        registry=registry,
        registry_namespace=namespace,
        register_username=read_text(values, "REGISTER_USERNAME"),
        register_password=values.get("REGISTER_PASSWORD"),
        base_image=read_text(values, "BASE_IMAGE") or DEFAULT_BASE_IMAGE,
        image_platform=read_platform(values),
        build_jobs=read_count(values, "BUILD_JOBS"),
        build_args=read_build_args(values),
        proxies=read_proxies(values),
        media_transport=read_choice(values, "MEDIA_TRANSPORT", ("volume", "image")),
    )


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
        if path.is_dir():  # to dotenv it would be an empty file
            raise IsADirectoryError("it is a folder")
        return {k: v for k, v in dotenv_values(path, interpolate=False).items() if v and v.strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read settings file {path}: {error}", hint="it must be a text file of NAME=value lines"
        ) from error
