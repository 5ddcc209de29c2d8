"""The environment of the tools that are compared, kept in the user's cache until its requirements change."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"


def install(place: Path | None) -> Path:
    """Return the folder of the programs; place: where the environment is or is made, None for the cache.

    Raises CalledProcessError, what pip says having been shown.
    """
    text = f"{sys.version} {REQUIREMENTS.read_text()}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autopipe"
    folder = place or cache / f"benchmarks-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    programs = folder / "bin"
    if not (programs / "snakemake").exists():
        sys.stderr.write(f"installing {REQUIREMENTS} into {folder}\n")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
    return programs
