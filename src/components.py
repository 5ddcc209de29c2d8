"""Where components lie, and the sum of what is in one."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from src.dag import Dag
from src.errors import FetchError
from src.image.dockerignore import kept_files
from src.settings import ROOT, Settings
from src.sums import SumMemory

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
IGNORE_FILE = ".dockerignore"


def locate_components(dag: Dag, settings: Settings, fetched: Mapping[str, Path]) -> dict[str, Path]:
    """Return the folder of each component: what was fetched, else COMPONENTS_DIR, else beside the DAG file or the tool.

    Raises FetchError that names every component without a folder, or whose folder has nothing to run.
    """
    if settings.components_dir:
        places = [settings.components_dir]
    else:
        places = list(dict.fromkeys([dag.path.parent / "components", ROOT / "components"]))
    real = {place: place.resolve() for place in places}
    found, problems = {}, []
    for name in dag.components:
        folder = fetched.get(name) or next((p / name for p in places if (p / name).is_dir()), None)
        if folder is None:
            problems.append(f"{name}: no folder {' or '.join(str(place / name) for place in places)}")
        elif not _has_program(folder, dag.options_of(name).command):
            problems.append(f"{name}: no {dag.options_of(name).command[-1]} in {folder}")
        else:
            # Most are no links: what is above them is the same for all.
            found[name] = (
                folder.resolve() if folder.is_symlink() or folder.parent not in real else real[folder.parent] / name
            )
    if problems:
        what = problems[0] if len(problems) == 1 else f"{len(problems)} components are missing"
        raise FetchError(
            f"component {what}" if len(problems) == 1 else what,
            details=() if len(problems) == 1 else tuple(problems),
            hint="put the folder there, name its Git `repository:` in the DAG file, or set COMPONENTS_DIR",
        )
    return found


def _has_program(folder: Path, command: tuple[str, ...]) -> bool:
    # A command of the user's may be anything, and a Dockerfile may bring the program; target process wants the file.
    named = command == ("python", "main.py") and not (folder / "Dockerfile").is_file()
    return not named or (folder / "main.py").is_file()


def component_sum(name: str, folder: Path, memory: SumMemory) -> str:
    """Return the sum of a component's files: sorted names, contents and exec bits, links by where they lead.

    Left out is what is no part of it: .git, __pycache__, and what .dockerignore drops. Raises FetchError for a link
    that leaves the component, for a Git LFS pointer in the place of a file, and for what cannot be read.
    """
    lines = []
    try:
        for path in sorted(component_files(folder)):
            inner = path.relative_to(folder).as_posix()
            if path.is_symlink():
                _check_link(name, folder, path)
                lines.append([inner, "link", str(path.readlink())])
            else:
                status = path.stat()
                sha256 = memory.sha256(path, status) if status.st_size >= 1024 else _small_sum(name, path)
                lines.append([inner, "x" if status.st_mode & 0o100 else "-", sha256])
    except OSError as error:
        raise FetchError(
            f"cannot read component {name}: {error.filename}: {error.strerror}", hint="check its rights"
        ) from error
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def component_files(folder: Path) -> Iterator[Path]:
    """Give the files and links that make up a component, in no order."""
    ignore = folder / IGNORE_FILE
    yield from kept_files(folder, ignore.read_text("utf-8", "replace") if ignore.is_file() else "")


def _small_sum(name: str, path: Path) -> str:
    data = path.read_bytes()
    if data.startswith(LFS_POINTER):
        raise FetchError(
            f"component {name}: {path} is a Git LFS pointer, not the file",
            hint="run `git lfs pull` in its repository",
        )
    return hashlib.sha256(data).hexdigest()


def _check_link(name: str, folder: Path, path: Path) -> None:
    # An image could not hold what it leads to, and a change there would not be seen.
    with contextlib.suppress(FileNotFoundError):
        path.stat()  # one that leads in a circle is refused by the system
    if not path.resolve().is_relative_to(folder):
        raise FetchError(
            f"component {name}: the link {path.relative_to(folder)} leaves the component",
            hint="put the file itself into the component's folder",
        )
