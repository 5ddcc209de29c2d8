"""Settings, from the environment and .env; the only user of dotenv."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from src.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
"""The tool's own folder: .env, components/ and src/ are found beside the program, never by the current directory."""

SECRETS = frozenset({"REGISTER_PASSWORD", "DEX_PASSWORD", "KFP_TOKEN"})
"""Settings that no component and no message may see."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user set; None where nothing was. Paths are absolute."""

    components_dir: Path | None = None
    cache_dir: Path
    output_dir: Path | None = None
    kfp_api_url: str | None = None
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
        docker_host=values.get("DOCKER_HOST", "").strip() or None,
    )


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
