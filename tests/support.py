"""Small projects for tests: components, a DAG file, and the program run on them, in this process or in its own."""

import contextlib
import ctypes
import dataclasses
import io
import json
import os
import select
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import autopipe

ROOT = Path(autopipe.__file__).resolve().parent

Tree = dict[str, tuple[str, int, bytes]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run of the program ended."""

    status: int
    out: str
    err: str

    @property
    def folder(self) -> Path:
        """The run's folder, as printed first on stdout."""
        return Path(self.out.splitlines()[0])

    @property
    def record(self) -> dict[str, Any]:
        return read_record(self.folder)

    @property
    def ran(self) -> dict[str, int]:
        """How many invocations each step ran, the first step left out; steps that ran none are left out too."""
        return ran_of(self.record)

    @property
    def errors(self) -> list[str]:
        """The lines of stderr that tell an error, with what belongs to it."""
        lines = self.err.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        return lines[starts[0] :] if starts else []


def read_record(folder: Path) -> dict[str, Any]:
    """Return a run's run.json."""
    record: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
    return record


def ran_of(record: Mapping[str, Any]) -> dict[str, int]:
    """Return how many invocations each step ran, without those that ran none and without save-media."""
    return {step["step"]: step["ran"] for step in record["steps"] if step["ran"] and step["step"] != "save-media"}


class Project:
    """A folder with a DAG file, components beside it and media; written by the test, run by the program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "output"
        self.file = folder / "dag.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "empty.env").touch()

    # --- Writing ---

    def media(self, content: bytes | str = b"media", name: str = "clip.mp4") -> Path:
        """Write a media file."""
        path = self.folder / "media" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def component(self, name: str, script: str = 'cp "$in" "$out"', files: Mapping[str, str] | None = None) -> Path:
        """Write a component of sh: $in and $out are its arguments, $@ what `args` adds."""
        folder = self.folder / "components" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main.sh").write_text(f"in=$2 out=$4; shift 4\n{script}\n")
        for inner, text in (files or {}).items():
            (folder / inner).parent.mkdir(parents=True, exist_ok=True)
            (folder / inner).write_text(text)
        return folder

    def python_component(self, name: str, script: str, files: Mapping[str, str] | None = None) -> Path:
        """Write a component of Python, with `IN` and `OUT` set; run by the default command."""
        folder = self.component(name, files=files)
        (folder / "main.sh").unlink()
        (folder / "main.py").write_text(f"import sys\nIN, OUT = sys.argv[2], sys.argv[4]\n{script}\n")
        return folder

    def write(
        self,
        components: Sequence[str],
        edges: Sequence[Sequence[Any]] = (),
        *,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        media: Any = "media",
        name: str = "app",
        file: Path | None = None,
    ) -> Path:
        """Write the DAG file (JSON is YAML); components that have a main.sh are run with it."""
        chosen: dict[str, dict[str, Any]] = {name: dict(some) for name, some in (options or {}).items()}
        for component in components:
            if (self.folder / "components" / component / "main.sh").exists():
                chosen.setdefault(component, {}).setdefault("command", ["sh", "main.sh"])
        system = {
            "name": name,
            "input_media": media,
            "components": list(components),
            "dependencies": [list(edge) for edge in edges],
            "options": chosen,
        }
        path = file or self.file
        path.write_text(json.dumps({"System": system}, indent=1, ensure_ascii=False), encoding="utf-8")
        return path

    # --- Running ---

    def arguments(self, *more: str, file: Path | None = None) -> list[str]:
        """Return the arguments of a run of this project."""
        return [
            *("-i", str(file or self.file), "--target", "process"),
            *("--output", str(self.output), "--env-file", str(self.folder / "empty.env"), *more),
        ]

    def run(self, *more: str, file: Path | None = None) -> Outcome:
        """Run the program in this process."""
        return run_main(self.arguments(*more, file=file))

    def succeed(self, *more: str, file: Path | None = None) -> Outcome:
        """Run the program, which must end with 0."""
        outcome = self.run(*more, file=file)
        assert outcome.status == 0, outcome.err
        return outcome

    def fail(self, status: int, *more: str, file: Path | None = None) -> Outcome:
        """Run the program, which must end with status, one message and one hint."""
        outcome = self.run(*more, file=file)
        assert outcome.status == status, outcome.err
        check_error(outcome)
        return outcome

    def start(self, *more: str, file: Path | None = None, **popen: Any) -> "subprocess.Popen[bytes]":
        """Start the program in a process of its own, its output in pipes unless popen says otherwise."""
        command = [sys.executable, str(ROOT / "autopipe.py"), *self.arguments(*more, file=file)]
        return subprocess.Popen(
            command, **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
        )

    def execute(self, *more: str, file: Path | None = None, **popen: Any) -> Outcome:
        """Run the program in a process of its own, to its end."""
        with self.start(*more, file=file, **popen) as process:
            out, err = process.communicate()
        return Outcome(process.returncode, (out or b"").decode(), (err or b"").decode())

    # --- Looking ---

    @property
    def place(self) -> Path:
        """Where the runs of `app` are."""
        return self.output / "app"

    def runs(self, name: str = "app") -> list[Path]:
        """Return the folders of all runs, the oldest first."""
        records = sorted((self.output / name).glob("2*/run.json"), key=lambda path: path.stat().st_mtime_ns)
        return [path.parent for path in records]


def run_main(argv: Sequence[str]) -> Outcome:
    """Run the program's main in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = autopipe.main(argv)
        except SystemExit as end:  # argparse
            status = end.code if isinstance(end.code, int) else 1
    return Outcome(status, out.getvalue(), err.getvalue())


def check_error(outcome: Outcome) -> None:
    """Assert that an error was told once, with what to do next, and that it is no bug of the program's."""
    lines = outcome.err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1, outcome.err
    assert sum(line.startswith("hint: ") for line in lines) == 1, outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, by their names."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tree(folder: Path) -> Tree:
    """Return all that is in a folder: by path, the kind, the mode and the content or a link's target."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        inner = str(path.relative_to(folder))
        if path.is_symlink():
            found[inner] = ("link", 0, os.fsencode(path.readlink()))
        elif path.is_dir():
            found[inner] = ("folder", status.st_mode, b"")
        else:
            found[inner] = ("file", status.st_mode, path.read_bytes() if path.is_file() else b"")
    return found


def has_ended(pid: int) -> bool:
    """Wait for the end of a process that is no child of ours; False when it is not over within ten seconds."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], 10)[0])
    finally:
        os.close(fd)


def marked_processes(mark: str) -> list[int]:
    """Return the processes that were started for a run: those with its mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"AUTOPIPE_MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def make_wheel(folder: Path, name: str, version: str = "1.0", text: str = "") -> Path:
    """Write a wheel with one module into folder, for installers that are told to look there."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": text or f"VERSION = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, content)
    return wheel


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[str], None]]:
    """Mount a file system of size bytes at folder for the time of a block; give a function that changes its options.

    Needs root; where mounting is refused the test fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", str(folder)], check=True)

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def drop_override() -> None:
    """Let what this process starts be subject to permissions, also as root; for preexec_fn."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                raise OSError(ctypes.get_errno(), "cannot drop a capability")
