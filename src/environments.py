"""Environments of the process target: one for each distinct Python and set of requirements, made with uv."""

import functools
import hashlib
import json
import logging
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from src.components import component_sum
from src.errors import ImageError
from src.pythons import find_python
from src.repository.leftovers import PREFIX, remove_leftovers
from src.settings import ROOT
from src.sums import SumMemory

log = logging.getLogger("autopipe")
STUB = ROOT / "src" / "template" / "aisprint"
DESCRIPTION = "autopipe.json"  # written last: an environment without it is not complete


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What runs a component: its interpreter, and an id that is equal where results are."""

    interpreter: Path
    id: str


def own_environment() -> Environment:
    """Return the tool's own Python, for components of the tool that need the standard library only."""
    return Environment(interpreter=Path(sys.executable), id=_describe(platform.python_version(), []))


def find_environment(place: Path) -> Environment | None:
    """Return the environment at place_of a component when it is complete."""
    try:
        description = json.loads((place / DESCRIPTION).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    interpreter = place / "bin" / "python"
    if not interpreter.exists():  # the Python that it was made from is gone
        return None
    return Environment(interpreter=interpreter, id=description["id"])


def make_environment(name: str, folder: Path, python: str | None, cache_dir: Path) -> Environment:
    """Return the environment of component name, made where the cache has none.

    Raises ImageError with the installer's own lines; ConfigError when the Python asked for is not installed.
    """
    place = place_of(folder, python, cache_dir)
    found = find_environment(place)
    if found:
        return found
    try:
        return _make(name, folder, python, place)
    except OSError as error:
        raise ImageError(
            f"component {name}: its environment cannot be made: {error.strerror}"
            + (f": {error.filename}" if error.filename else ""),
            hint="free some space, or set CACHE_DIR to a folder that you may write",
        ) from error


def _make(name: str, folder: Path, python: str | None, place: Path) -> Environment:
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(place.parent)
    made = place.with_name(f"{PREFIX}{secrets.token_hex(8)}")
    requirements = folder / "requirements.txt"
    try:
        interpreter = find_python(python, name) if python else Path(sys.executable)
        _uv(name, ["venv", "--quiet", "--no-project", "--relocatable", "--python", str(interpreter), str(made)], folder)
        target = ["--python", str(made / "bin" / "python")]
        if _lines(requirements):
            log.info("%s: installing requirements", name)
            # Compiled now: components are run without writing bytecode.
            _uv(name, ["pip", "install", *target, "--compile-bytecode", "-r", str(requirements)], folder)
        # What was installed from the component's own folder is the same wherever that lies.
        packages = _uv(name, ["pip", "freeze", *target], folder).replace(folder.as_uri(), "file:.").splitlines()
        _add_stub(made)
        version = _uv_version(made)
        (made / DESCRIPTION).write_text(json.dumps({"id": _describe(version, packages), "packages": packages}))
        if find_environment(place) is None:  # else another run has just made the same
            shutil.rmtree(place, ignore_errors=True)  # not complete, or without its Python
            try:
                made.rename(place)
            except OSError:
                if find_environment(place) is None:
                    raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Environment(interpreter=place / "bin" / "python", id=_describe(version, packages))


_NAMES_FILES = r"^[-.]|/|\.(whl|zip|gz|tgz|bz2)$"
"""In lines of requirements: what may lead to other files of the component, which then count too."""


def place_of(folder: Path, python: str | None, cache_dir: Path) -> Path:
    """Return where the environment of the component in folder is in the cache, or will be."""
    lines = _lines(folder / "requirements.txt")
    content = [python or platform.python_version(), sys.base_prefix, platform.machine(), _stub_sum(), *sorted(lines)]
    if any(re.search(_NAMES_FILES, line) for line in lines):
        with SumMemory(cache_dir) as memory:
            content += [str(folder), component_sum(folder.name, folder, memory)]
    return cache_dir / "environments" / hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _lines(requirements: Path) -> list[str]:
    """Return the lines that say something; the file may be absent, have CRLF, comments or no last newline."""
    try:
        text = requirements.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise ImageError(
            f"component {requirements.parent.name}: {requirements} is no text: {error}", hint="save it as UTF-8"
        ) from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@functools.cache
def _stub_sum() -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(STUB.glob("*.py")))).hexdigest()


def _describe(version: str, packages: list[str]) -> str:
    text = json.dumps([platform.python_implementation(), version, platform.machine(), packages, _stub_sum()])
    return "process:" + hashlib.sha256(text.encode()).hexdigest()


def _uv_version(environment: Path) -> str:
    # uv writes the version of the interpreter there: running it would cost more.
    for line in (environment / "pyvenv.cfg").read_text().splitlines():
        if line.startswith("version_info"):
            return line.partition("=")[2].strip()
    raise ImageError(f"uv made an environment without a version: {environment}", hint="update uv")


def _add_stub(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    shutil.copytree(STUB, packages / "_autopipe" / "aisprint", ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "zz_autopipe.pth").write_text("_autopipe\n")  # site puts it at the end of sys.path


def _uv(name: str, arguments: list[str], folder: Path) -> str:
    from uv import find_uv_bin

    environ: Mapping[str, str] = {
        # pip's settings are the user's word on where packages come from; uv's own win.
        **{f"UV_{uv}": os.environ[f"PIP_{pip}"] for pip, uv in _PIP_SETTINGS.items() if os.environ.get(f"PIP_{pip}")},
        **{key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")},
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
    }
    done = subprocess.run(
        [find_uv_bin(), *arguments], cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise ImageError(
            f"component {name}: its requirements could not be installed",
            details=tuple(line for line in done.stderr.splitlines() if line.strip())[-20:],
            hint=f"correct {folder / 'requirements.txt'}; old pins may need the option `python:`",
        )
    return done.stdout


_PIP_SETTINGS = {"INDEX_URL": "DEFAULT_INDEX", "EXTRA_INDEX_URL": "INDEX", "FIND_LINKS": "FIND_LINKS"}
