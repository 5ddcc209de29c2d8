"""A component's requirements.sys: the Debian packages that it needs."""

import shutil
import subprocess
from pathlib import Path


def read_packages(requirements: Path) -> list[str]:
    """Return the packages named in a file that may be absent or empty, have comments, CRLF or no last newline."""
    try:
        text = requirements.read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        return []
    return [word for line in text.splitlines() for word in line.partition("#")[0].split()]


def missing_packages(requirements: Path) -> list[str]:
    """Return those that are not installed; a program of that name counts, and all do where there is no dpkg."""
    names = read_packages(requirements)
    if not names or not shutil.which("dpkg-query"):
        return []
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package} ${Provides}\n", *names]
    # It exits with 1 as soon as one of them is unknown; what it knows is printed all the same.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    installed = {
        word.strip(",")
        for line in done.stdout.splitlines()
        if line.startswith("installed ")
        for word in line.split()[1:]
    }
    return [name for name in names if name.partition("=")[0] not in installed and not shutil.which(name)]
