"""Finds an installed Python of a given version; nothing is downloaded."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from src.errors import ConfigError


def find_python(version: str, component: str) -> Path:
    """Return an interpreter of version '3', '3.9' or '3.9.18'; raises ConfigError when there is none.

    Looked at are the folders of PATH, then those of pyenv and uv, whose Pythons need not be on it.
    """
    seen = set()
    for candidate in _candidates(version):
        found = _version_of(candidate)
        if found and (found == version or found.startswith(version + ".")):
            return candidate
        seen.add(found)
    others = sorted((f for f in seen if f), key=lambda text: [int(part) for part in text.split(".")])
    raise ConfigError(
        f"component {component} asks for Python {version}, which is not installed here",
        details=(f"found: {', '.join(others)}",) if others else (),
        hint="install it, change the option `python:`, or run with --target docker",
    )


def _candidates(version: str) -> Iterator[Path]:
    minor = ".".join(version.split(".")[:2])
    names = [f"python{minor}", "python3"]
    for name in names:
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
            if (path := Path(folder) / name).is_file():
                yield path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    for place in (pyenv, Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")):
        yield from sorted(place.glob("*/bin/python3"))


def _version_of(interpreter: Path) -> str | None:
    # A file of that name may be pyenv's shim for a version that is not chosen: it exits with 127.
    command = [str(interpreter), "-I", "-c", "import platform; print(platform.python_version())"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.fullmatch(r"(\d+\.\d+\.\d+)\S*\s*", done.stdout)
    return found[1] if done.returncode == 0 and found else None
