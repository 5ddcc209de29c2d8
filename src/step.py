"""The step launcher: runs one component over its input files, on every target in the same way.

It is put on the volume as `.autopipe/step.py` and started with `python step.py STEP [RUN]` by the Python (3.8 or newer)
of whatever image the component has, so it is one file and needs nothing but the standard library. The process
target calls run_task in its own process. What it does is DESIGN.md section 4: files are the unit of work, each
invocation has private folders, outputs move into place by rename, and an appended journal says what is done.

A journal (`.autopipe/steps/<task>.jsonl`) has one JSON object a line, told apart by `event`:
  start       {time, run}                    what follows belongs to this attempt
  invocation  {key, name, state, inputs, outputs, exit, attempts, time, seconds, run, message?, hint?, tail?}
  end         {state, message?, hint?, tail?}
A file in it is {name, size, mtime_ns, inode, sha256, content}; sizes in bytes, times in seconds since the epoch.
"""

import collections
import contextlib
import hashlib
import json
import os
import queue
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import (
    Any,
    Callable,
    ContextManager,
    Deque,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
)

VERSION = 1
"""Part of every key: raised when the same component would be given other inputs, names or surroundings."""

SAVE_MEDIA = "save-media"
WORK = "_work"  # no dot: components cut paths at dots; no component's name begins with _
NEVER = frozenset({".git", "__pycache__"})
"""Names that are not part of a component: not in its key, not in its working directory."""

TICK = 0.2  # seconds
SLOT_TICK = 0.02  # seconds between looks for a slot
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
TAIL_LINES = 20
TAIL_BYTES = 8192
CHUNK = 1 << 20
SMALL = 1 << 16  # bytes
LONGEST_NAME = 100

Record = Dict[str, Any]


class StepError(Exception):
    """Why an invocation or a step failed; retry says whether another attempt could help."""

    def __init__(self, message: str, hint: str = "", *, exit_status: Optional[int] = None, retry: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_status = exit_status
        self.retry = retry


class Cancelled(Exception):  # noqa: N818  # not an error of the step
    """The run was told to stop; nothing of the invocation is recorded."""


# --- Sums ----------------------------------------------------------------------------------------------------------


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while True:
            chunk = file.read(CHUNK)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)


def content_of(path: Path, sha256: str) -> str:
    """Return the content sum: for an archive over its members, so that packing them again later changes nothing.

    Members count with name, kind, exec bit and content, sorted by name; times, owners and order do not. Anything
    that is no tar (plain, gz, bz2, xz) or zip has its sha256 for content sum. Raises StepError for an archive, by
    its name, that cannot be read or has no members.
    """
    named = re.search(r"\.(tar|tgz|tbz2|txz|zip|tar\.(gz|bz2|xz))$", path.name, re.IGNORECASE) is not None
    with path.open("rb") as file:
        head = file.read(512)
    zipped = head.startswith((b"PK\x03\x04", b"PK\x05\x06"))
    packed = head[257:262] == b"ustar" or head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ"))
    if not (zipped or packed or named):
        return sha256
    import lzma  # here, for a container's start is one of many
    import tarfile
    import zipfile
    import zlib

    try:
        members = list(_zip_members(path) if zipped else _tar_members(path))
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        RuntimeError,
    ) as error:
        if named:
            raise StepError(
                f"{path.name} is not a readable archive: {error}",
                "the component must close the archive before it exits",
            ) from error
        return sha256
    if not any(kind == "file" for _, kind, _, _ in members):
        if not named:
            return sha256
        raise StepError(
            f"{path.name} is an archive without members",
            "the component found nothing to pack: its log may say that a tool of it failed",
        )
    text = json.dumps(sorted(members, key=lambda member: member[0]))
    return hashlib.sha256(b"archive:" + text.encode()).hexdigest()


def _tar_members(path: Path) -> Iterator[Tuple[str, str, bool, str]]:
    import tarfile

    ended = []

    class Member(tarfile.TarInfo):
        @classmethod
        def fromtarfile(cls, tarfile_: Any) -> Any:
            # A torn or broken header ends the list of members in silence; only a block of zeros may.
            try:
                return super().fromtarfile(tarfile_)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
                ended.append(True)
                raise

    with _unpacked(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|", tarinfo=Member) as archive:
        for member in archive:
            name = member.name[2:] if member.name.startswith("./") else member.name
            if member.isreg():
                stream = archive.extractfile(member)
                yield name, "file", bool(member.mode & 0o111), _stream_sum(stream)
            else:
                yield name, member.type.decode("latin-1"), False, member.linkname
        while unpacked.read(CHUNK):
            pass  # the sum of a packed file is compared at its end
        if not ended:
            raise tarfile.ReadError("unexpected end of data")


def _unpacked(path: Path) -> Any:
    import bz2
    import gzip
    import lzma

    with path.open("rb") as file:
        head = file.read(6)
    for magic, module in ((b"\x1f\x8b", gzip), (b"BZh", bz2), (b"\xfd7zXZ", lzma)):
        if head.startswith(magic):
            return module.open(str(path), "rb")
    return path.open("rb")


def _zip_members(path: Path) -> Iterator[Tuple[str, str, bool, str]]:
    import zipfile

    with zipfile.ZipFile(str(path)) as archive:
        for member in archive.infolist():
            if member.is_dir():
                yield member.filename, "folder", False, ""
            else:
                with archive.open(member) as stream:
                    yield (
                        member.filename,
                        "file",
                        bool(member.external_attr >> 16 & 0o111),
                        _stream_sum(stream),
                    )


def _stream_sum(stream: Any) -> str:
    digest = hashlib.sha256()
    for chunk in iter(lambda: stream.read(CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()


def file_entry(path: Path, sums: Optional[Tuple[str, str]] = None) -> Record:
    """Return a file's entry for the journal; sums are its two sums where they are known already."""
    status = path.stat()
    if sums is None:
        sha256 = sha256_of(path)
        sums = (sha256, content_of(path, sha256))
    return {
        "name": path.name,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "inode": status.st_ino,
        "sha256": sums[0],
        "content": sums[1],
    }


def is_intact(path: Path, entry: Mapping[str, Any]) -> bool:
    """Say whether path still is the file of the entry, without reading it."""
    try:
        status = os.lstat(str(path))
    except OSError:
        return False
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_size == entry["size"]
        and status.st_mtime_ns == entry["mtime_ns"]
        and status.st_ino == entry["inode"]
    )


# --- Journals ------------------------------------------------------------------------------------------------------


def journal_path(volume: Path, task: str) -> Path:
    """Return where a task's journal is."""
    return volume.joinpath(".autopipe", "steps", task + ".jsonl")


def read_journal(path: Path) -> List[Record]:
    """Return a journal's whole lines; one that a kill tore in two is passed over. A missing journal is empty."""
    records = []
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    for line in data.split(b"\n"):
        if line:
            with contextlib.suppress(ValueError):
                records.append(json.loads(line))
    return records


def last_attempt(records: List[Record]) -> List[Record]:
    """Return the records after the last start."""
    for index in range(len(records) - 1, -1, -1):
        if records[index]["event"] == "start":
            return records[index + 1 :]
    return []


class Journal:
    """An open journal; lines are appended whole, several threads may append."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self._lock = threading.Lock()
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")  # ends the line that a kill tore

    def append(self, records: Iterable[Record], *, durable: bool = False) -> None:
        """Append the records; durable waits until they are on the disk."""
        data = b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)
        with self._lock:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            if durable:
                os.fsync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def start_record(run_id: str) -> Record:
    """Return the record that begins an attempt of a run."""
    return {"event": "start", "time": time.time(), "run": run_id}


def record_task(volume: Path, plan: Record, task: str, records: List[Record]) -> Record:
    """Write the journal of a task that was done before, by the records of its invocations; return its end record.

    For whoever laid all outputs into the step's empty folder: the launcher has nothing to do there.
    """
    end = {"event": "end", "state": step_state(record["state"] for record in records)}
    journal = Journal(journal_path(volume, task))
    journal.append([start_record(plan["run"]), *records, end])
    journal.close()
    return end


def step_state(states: Iterable[str]) -> str:
    """Merge the states of a step's tasks, or of its invocations: done, skipped or failed."""
    found = set(states)
    return "failed" if "failed" in found else "done" if "done" in found else "skipped"


def step_outputs(volume: Path, plan: Record, step: str) -> List[Record]:
    """Return the entries of a step's output files, sorted by name.

    Raises StepError when the step is not complete or two of its shards wrote the same name.
    """
    entries: Dict[str, Record] = {}
    for task in plan["steps"][step]:
        records = last_attempt(read_journal(journal_path(volume, task)))
        if not records or records[-1]["event"] != "end" or records[-1]["state"] == "failed":
            raise StepError(f"its parent {task} is not complete", "run the parent first")
        for record in records[:-1]:
            for entry in record["outputs"]:
                if entry["name"] in entries:
                    raise StepError(
                        "two shards of {} wrote {}".format(step, entry["name"]),
                        "let the component put a separator, such as - or _, between OUTPUT and what it adds",
                    )
                entries[entry["name"]] = entry
    return [entries[name] for name in sorted(entries)]


# --- Inputs and names ----------------------------------------------------------------------------------------------


class Input(NamedTuple):
    """A file that an invocation reads: the step that wrote it, its path and its entry."""

    parent: str
    path: Path
    entry: Record


class Invocation(NamedTuple):
    """One run of the component: the base name of its output, its key and its inputs."""

    name: str
    key: str
    inputs: Tuple[Input, ...]


def plain(name: str) -> str:
    """Return name in [A-Za-z0-9_-]: components cut names at dots and split them at blanks."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _stem(name: str) -> str:
    # One extension, or .tar and its compression: `clip.tar.gz` is called clip.
    return plain(re.sub(r"(?<=.)(\.tar)?\.[^.]*$", "", name))


def invocation_names(step: str, files: List[Tuple[str, str]], *, parents: int) -> List[str]:
    """Return the output base name of each (parent, file name): the step's name in the place of the parent's.

    A name depends on its own file; only where two would be equal, ignoring case, does each get a suffix made of its
    parent and file name. With one file in all it is the step's name.
    """
    own = plain(step)
    if len(files) == 1:
        return [own]
    names = []
    for parent, file in files:
        stem, prefix = _stem(file), plain(parent)
        if parents == 1 and stem.startswith(prefix):
            stem = stem[len(prefix) :].lstrip("_-") if len(stem) > len(prefix) else stem
        names.append(own + "_" + stem)
    count = collections.Counter(name.lower() for name in names)
    for index, (name, lineage) in enumerate(zip(names, files)):
        if count[name.lower()] > 1 or len(name) > LONGEST_NAME:
            suffix = hashlib.sha256("/".join(lineage).encode()).hexdigest()[:12]
            names[index] = name[: LONGEST_NAME - 13] + "-" + suffix
    return names


def invocation_key(base: str, name: str, inputs: Iterable[Input]) -> str:
    """Complete a step's key of the plan with what only the launcher knows: the inputs' names and content sums."""
    files = [[item.path.name, item.entry["content"]] for item in inputs]
    return hashlib.sha256(json.dumps([VERSION, base, name, files]).encode()).hexdigest()


def list_invocations(volume: Path, plan: Record, task: str) -> List[Invocation]:
    """Return what a task has to run, in order; raises StepError when a parent or a file is missing."""
    spec = plan["tasks"][task]
    return choose_invocations(spec, _list_inputs(volume, plan, spec))


def choose_invocations(spec: Record, inputs: List[Input]) -> List[Invocation]:
    """Return the invocations of a task, as the plan has it, for all input files of its step; pure."""
    step = spec["step"]
    inputs = sorted(inputs, key=lambda item: (item.path.name, item.parent))
    groups: List[Tuple[Input, ...]] = [(item,) for item in inputs]
    if spec["join"]:
        groups = [tuple(inputs)] if inputs else []
        names = [plain(step)]
    elif step == SAVE_MEDIA:
        names = [item.path.name for item in inputs]  # the media keeps its own name
    else:
        files = [(item.parent, item.path.name) for item in inputs]
        names = invocation_names(step, files, parents=len(spec["parents"]))
    shard, shards = spec["shard"]
    chosen = list(zip(names, groups))[shard::shards]
    return [Invocation(name, invocation_key(spec["key"], name, group), group) for name, group in chosen]


def divide_invocations(volume: Path, plan: Record, task: str) -> Tuple[List[Record], List[Invocation]]:
    """Return the records of what a task has done already, and the invocations that are left to run.

    Raises StepError when a parent or a file is missing.
    """
    return _divide(volume, plan, task, _known_records(volume, plan, task))


def _divide(
    volume: Path, plan: Record, task: str, known: Mapping[str, Record]
) -> Tuple[List[Record], List[Invocation]]:
    kept: List[Record] = []
    pending: List[Invocation] = []
    for invocation in list_invocations(volume, plan, task):
        record = known.get(invocation.key)
        if record is None or not _counts(volume, plan["tasks"][task], record):
            pending.append(invocation)
        else:
            kept.append(record)
    return kept, pending


def _known_records(volume: Path, plan: Record, task: str) -> Dict[str, Record]:
    # Shards share the step's folder: a file that moved to another shard is not made again.
    step = plan["tasks"][task]["step"]
    known = {}
    for name in sorted({step, *plan["steps"][step]}):
        for record in read_journal(journal_path(volume, name)):
            if record["event"] == "invocation" and record["state"] != "failed":
                known[record["key"]] = record
    return known


def _counts(volume: Path, spec: Record, record: Record) -> bool:
    # What was skipped when it could be is run again when it no longer may be.
    if not record["outputs"]:
        return bool(spec["may_skip"])
    return all(is_intact(volume / spec["step"] / entry["name"], entry) for entry in record["outputs"])


def _list_inputs(volume: Path, plan: Record, spec: Record) -> List[Input]:
    if spec["step"] == SAVE_MEDIA:
        folder = volume / ".autopipe" / "media"
        found = [Input("", folder / entry["name"], _arrived(folder, entry)) for entry in plan["media"]]
    else:
        found = [
            Input(parent, volume / parent / entry["name"], entry)
            for parent in spec["parents"]
            for entry in step_outputs(volume, plan, parent)
        ]
        for item in found:
            if not is_intact(item.path, item.entry):
                raise StepError(
                    f"its input {item.parent}/{item.path.name} is missing or was changed",
                    "run the same command again: the file is made anew",
                    retry=False,
                )
    return found


def _arrived(folder: Path, entry: Record) -> Record:
    # Staged on this very disk it is known by its inode; brought from elsewhere its bytes are summed.
    path = folder / entry["name"]
    if is_intact(path, entry):
        return entry
    if not path.is_file() or path.stat().st_size != entry["size"] or sha256_of(path) != entry["sha256"]:
        raise StepError(
            "the media {} did not arrive whole on the volume".format(entry["name"]),
            "run the same command again",
            retry=False,
        )
    return dict(file_entry(path, (entry["sha256"], entry["content"])))


# --- Files ---------------------------------------------------------------------------------------------------------


def clone(source: Path, target: Path, *, link: bool = True) -> None:
    """Make target the same file as source: reflink, else (with link) hard link, else copy; raises OSError."""
    if reflink(source, target):
        return
    if link:
        try:
            os.link(str(source), str(target))
            return
        except OSError:
            pass  # another file system, or too many links
    shutil.copyfile(str(source), str(target))
    shutil.copymode(str(source), str(target))


_no_reflink: Set[int] = set()  # devices that refused once


def reflink(source: Path, target: Path) -> bool:
    """Make target a copy of source that shares its blocks; return False where the file system cannot."""
    device = source.stat().st_dev
    if not sys.platform.startswith("linux") or device in _no_reflink:
        return False
    import fcntl

    ficlone = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), ficlone, reader.fileno())
        except OSError:
            _no_reflink.add(device)
        else:
            shutil.copymode(str(source), str(target))
            return True
    target.unlink()
    return False


def remove_tree(folder: Path) -> None:
    """Remove a folder, also where a component took away the right to; what resists is left."""
    shutil.rmtree(str(folder), ignore_errors=True)
    if folder.is_dir():
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
            for place, names, _ in os.walk(str(folder)):
                for path in (Path(place) / name for name in names):
                    if not path.is_symlink():
                        path.chmod(0o700)
        shutil.rmtree(str(folder), ignore_errors=True)


def link_tree(source: Path, target: Path) -> None:
    """Make target a folder of links to source's files: new files stay in it, those of source are found by path.

    Small files are copies, but for programs: what a component adds to one must not reach its other invocations.
    """
    _lay_folder(source.resolve(), target)


def _lay_folder(source: Path, target: Path) -> None:
    target.mkdir()
    with os.scandir(str(source)) as entries:
        for entry in entries:
            if entry.name in NEVER:
                continue
            if entry.is_dir(follow_symlinks=False):
                _lay_folder(source / entry.name, target / entry.name)
                continue
            path = (source / entry.name).resolve() if entry.is_symlink() else source / entry.name
            if path.suffix != ".py" and path.is_file() and path.stat().st_size <= SMALL:
                shutil.copyfile(str(path), str(target / entry.name))
                shutil.copymode(str(path), str(target / entry.name))
            else:
                (target / entry.name).symlink_to(path)


# --- Processes -----------------------------------------------------------------------------------------------------


class Cancel:
    """Tells every running invocation to stop; may be set from any thread or from a signal handler."""

    def __init__(self) -> None:
        self._asked = False
        # Not an Event: its lock is for ever taken where a second signal comes while the first one's handler sets it.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._groups: Dict[int, int] = {}

    def set(self) -> None:
        """Ask: no invocation starts any more, and SIGTERM goes to each process group."""
        self._asked = True
        self._bell.put(None)
        for group in list(self._groups):
            _signal_group(group, signal.SIGTERM)

    def is_set(self) -> bool:
        """Say whether it was asked."""
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Wait at most that long; return whether it was asked."""
        with contextlib.suppress(queue.Empty):
            self._bell.get(timeout=seconds)
            self._bell.put(None)  # for the others that wait
        return self._asked

    @contextlib.contextmanager
    def watch(self, group: int) -> Iterator[None]:
        """Let set() reach this process group while the block runs."""
        self._groups[group] = group
        if self.is_set():  # it was asked between the check and here
            _signal_group(group, signal.SIGTERM)
        try:
            yield
        finally:
            del self._groups[group]


class SharedSlots:
    """Bounds how many invocations run at once in all containers of one machine: each holds the lock of one file.

    The files are on the volume, which is all that the containers share. A lock ends with its holder, however that ends.
    """

    def __init__(self, files: List[Path], cancel: Cancel) -> None:
        self._files = files
        self._cancel = cancel
        self._held = threading.local()

    def __enter__(self) -> None:
        """Wait for a lock; return without one when the run is told to stop."""
        import fcntl

        self._held.fd = -1
        while not self._cancel.is_set():
            for path in self._files:
                fd = os.open(str(path), os.O_RDWR)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(fd)
                except OSError:  # this disk has no locks: then nothing is bounded
                    os.close(fd)
                    return
                else:
                    self._held.fd = fd
                    return
            self._cancel.wait(SLOT_TICK)

    def __exit__(self, *_: object) -> None:
        """Give the lock back."""
        if self._held.fd >= 0:
            os.close(self._held.fd)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def kill_marked(mark: str) -> int:
    """Kill every process that has AUTOPIPE_MARK=<mark>... in its environment; return how many.

    Finds what left its process group or outlived its launcher. Linux only: elsewhere there is no /proc.
    """
    needle, killed = b"AUTOPIPE_MARK=" + os.fsencode(mark), 0
    for folder in Path("/proc").glob("[0-9]*") if Path("/proc/self").exists() else ():
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            variables = (folder / "environ").read_bytes().split(b"\0")
            if any(variable == needle or variable.startswith(needle + b"/") for variable in variables):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


class Tail:
    """The last bytes of an output, as lines for a message."""

    def __init__(self) -> None:
        self._chunks: Deque[bytes] = collections.deque()
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Take what was printed; only the end is kept."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._chunks[0]) >= TAIL_BYTES:
            self._size -= len(self._chunks.popleft())

    def lines(self) -> List[str]:
        """Return the last lines, with nothing in them that moves a terminal's cursor."""
        text = b"".join(self._chunks)[-TAIL_BYTES:].decode("utf-8", "replace").replace("\r", "\n")
        lines = ["".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in text.split("\n")]
        return [line for line in lines if line.strip()][-TAIL_LINES:]


class Process:
    """One child in a process group of its own, followed until its end."""

    def __init__(self, process: "subprocess.Popen[bytes]", write: Callable[[bytes], None], cancel: Cancel) -> None:
        self._process = process
        self._write = write
        self._cancel = cancel
        self._out = process.stdout.fileno() if process.stdout else -1
        os.set_blocking(self._out, False)
        self._open = True
        # Without pidfd_open (Python 3.8, other systems) a closed output, or a look now and then, tells the end.
        self._pidfd = _open_pidfd(process.pid)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        if self._pidfd >= 0:
            self._poll.register(self._pidfd, select.POLLIN)

    def follow(self, timeout: Optional[float]) -> bool:
        """Pass on what it prints until it ends; return False when timeout (seconds) ended it, raise Cancelled."""
        deadline = None if timeout is None else time.monotonic() + timeout
        in_time = True
        kill_at = None  # once SIGTERM was sent
        while self._process.poll() is None:
            now = time.monotonic()
            if kill_at is None and (self._cancel.is_set() or (deadline is not None and now >= deadline)):
                in_time = self._cancel.is_set()
                _signal_group(self._process.pid, signal.SIGTERM)
                kill_at = now + GRACE
            elif kill_at is not None and now >= kill_at:
                _signal_group(self._process.pid, signal.SIGKILL)
                kill_at = now + 3600  # nothing stronger is left
            self._wait(kill_at or deadline)
        self._read()
        if self._cancel.is_set():
            raise Cancelled
        return in_time

    def _wait(self, until: Optional[float]) -> None:
        # Cancel.set() signals the group from elsewhere; the tick sees to SIGKILL should that not be enough.
        seconds = TICK if until is None else min(TICK, max(0.0, until - time.monotonic()))
        if not self._open and self._pidfd < 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        else:
            self._poll.poll(seconds * 1000)
            self._read(1)

    def _read(self, limit: int = 1 << 10) -> None:
        # Never waits for the pipe's end: a child that was left behind may hold it for ever.
        for _ in range(limit if self._open else 0):
            try:
                chunk = os.read(self._out, 1 << 16)
            except BlockingIOError:
                return
            if not chunk:
                self._open = False
                self._poll.unregister(self._out)
                return
            self._write(chunk)

    def close(self, mark: str) -> None:
        """End whatever the child left behind, in its group or with its mark, and release it."""
        _signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._read()
        if self._open and kill_marked(mark):
            self._read()
        if self._process.stdout:
            self._process.stdout.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)


def _open_pidfd(pid: int) -> int:
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return -1
    try:
        return int(opener(pid))
    except OSError:  # an old kernel, or a sandbox that forbids it
        return -1


# --- A task --------------------------------------------------------------------------------------------------------


_PRIVATE = ("in", "out", "home", "tmp")


def _make_work(work: Path) -> None:
    try:
        work.mkdir(parents=True)
    except FileExistsError:  # left by a launcher that was killed
        remove_tree(work)
        work.mkdir()
    for name in _PRIVATE:
        (work / name).mkdir()


def _remove_work(work: Path) -> None:
    for name in _PRIVATE:  # most are empty, and are removed fastest like this
        with contextlib.suppress(OSError):
            (work / name).rmdir()
    remove_tree(work)


class Launcher:
    """Runs one task; see run_task for the arguments."""

    def __init__(
        self,
        volume: Path,
        plan: Record,
        task: str,
        *,
        interpreter: str,
        environ: Mapping[str, str],
        slots: Optional[ContextManager[object]],
        cancel: Cancel,
        notify: Callable[[Record], None],
        echo: Optional[Callable[[bytes], None]],
        component: Callable[[], Path],
        shared: bool,
    ) -> None:
        self.volume = volume
        self.run_id = plan["run"]
        self.plan = plan
        self.task = task
        self.spec = plan["tasks"][task]
        self.step = self.spec["step"]
        self.interpreter = interpreter
        self.environ = environ
        self.slots = slots
        self.cancel = cancel
        self.notify = notify
        self.echo = echo
        self.find_component = component
        self.shared = shared
        self.component = Path()
        self.alone = True  # no two invocations at once
        self.failed = threading.Event()
        self._owners: Dict[str, str] = {}  # output file -> invocation, of this attempt
        self._lock = threading.Lock()

    def run(self) -> Record:
        """Run every invocation that is not done yet; return the end record."""
        journal = Journal(journal_path(self.volume, self.task))
        try:
            end = self._run(journal)
            end["event"] = "end"
            journal.append([end], durable=end["state"] == "failed")
        finally:
            journal.close()
        return end

    def _run(self, journal: Journal) -> Record:
        (self.volume / self.step).mkdir(exist_ok=True)
        known = _known_records(self.volume, self.plan, self.task)
        journal.append([start_record(self.run_id)])
        try:
            kept, pending = _divide(self.volume, self.plan, self.task, known)
        except StepError as error:
            return {"state": "failed", "message": error.message, "hint": error.hint}
        for record in kept:
            self._owners.update((entry["name"], record["name"]) for entry in record["outputs"])
        self._drop_stale(kept)
        self.notify({"event": "start", "kept": len(kept), "pending": len(pending)})
        journal.append(kept)
        try:
            records = kept + self._perform_all(pending, journal)
        except StepError as error:
            return {"state": "failed", "message": error.message, "hint": error.hint}
        if self.cancel.is_set():
            return {"state": "failed", "message": "interrupted", "hint": "the same command goes on from here"}
        broken = [record for record in records if record["state"] == "failed"]
        if broken:
            return {field: broken[0].get(field) for field in ("state", "message", "hint", "exit", "tail")}
        return {"state": step_state(record["state"] for record in records)}

    def _drop_stale(self, kept: List[Record]) -> None:
        # Files of an earlier attempt with other inputs, or moved into place by one that died before it said so.
        if self.spec["shard"][1] > 1:
            return  # the others are at work in the same folder
        current = {entry["name"] for record in kept for entry in record["outputs"]}
        for path in (self.volume / self.step).iterdir():
            if path.name not in current:
                path.unlink()

    def _perform_all(self, pending: List[Invocation], journal: Journal) -> List[Record]:
        left = collections.deque(pending)
        records: List[Record] = []
        several = len(pending) > 1
        log_path = self.volume / ".autopipe" / "logs" / (self.step + ".log")

        def work() -> None:
            while not self.failed.is_set() and not self.cancel.is_set():
                try:
                    invocation = left.popleft()
                except IndexError:
                    return
                record = self._perform(invocation, log, several)
                if record is None:
                    return
                journal.append([record], durable=True)
                records.append(record)
                self.notify(record)
                if record["state"] == "failed":
                    self.failed.set()

        if not pending:
            return records
        self.component = self.find_component()
        with log_path.open("ab", buffering=0) as log:
            workers = min(self.spec["parallel"] or cores(), len(pending))
            self.alone = workers == 1
            if workers == 1:
                work()
            else:
                from concurrent.futures import ThreadPoolExecutor, wait

                with ThreadPoolExecutor(workers) as pool:
                    futures = [pool.submit(work) for _ in range(workers)]
                    # A signal that comes in the moment when a wait begins is handled only at its end.
                    while wait(futures, timeout=TICK).not_done:
                        pass
                    for future in futures:
                        future.result()
        return records

    def _perform(self, invocation: Invocation, log: Any, several: bool) -> Optional[Record]:
        """Run one invocation, with its retries; return its record, or None when the run was cancelled."""
        tail, started, clock, attempt = Tail(), time.time(), time.monotonic(), 0
        record: Record = {
            "event": "invocation",
            "key": invocation.key,
            "name": invocation.name,
            "state": "failed",
            "inputs": [dict(item.entry, parent=item.parent) for item in invocation.inputs],
            "outputs": [],
            "exit": 0,
            "time": started,
            "run": self.run_id,
        }
        while True:
            attempt += 1
            try:
                with self.slots or contextlib.nullcontext():
                    if self.cancel.is_set():
                        return None
                    record["outputs"] = self._attempt(invocation, attempt, log, tail, several)
                record["state"] = "done" if record["outputs"] else "skipped"
                break
            except Cancelled:
                return None
            except StepError as error:
                again = error.retry and attempt <= self.spec["retries"]
                if again and not self.cancel.wait(min(2.0 ** (attempt - 1), 30.0)):
                    continue
                if again:
                    return None
                record.update(message=error.message, hint=error.hint, exit=error.exit_status, tail=tail.lines())
                break
        record.update(attempts=attempt, seconds=round(time.monotonic() - clock, 3))
        return record

    def _attempt(self, invocation: Invocation, attempt: int, log: Any, tail: Tail, several: bool) -> List[Record]:
        work = self.volume / WORK / (f"{invocation.key[:16]}-{attempt}")
        try:
            _make_work(work)
            link_tree(self.component, work / "cwd")
            source = self._place_inputs(invocation, work / "in")
            command = [*self._command(), "-i", str(source), "-o", str(work / "out" / invocation.name)]
            command += self.spec["args"]
            self._execute(command, work, self._writer(log, tail, invocation.name if several else ""))
            self._check_inputs(invocation)
            return self._publish(invocation, self._collect(work / "out", invocation))
        except OSError as error:
            name = "" if error.filename is None else f": {error.filename}"
            raise StepError(f"{error.strerror or error}{name}", _room(self.volume), retry=False) from error
        finally:
            _remove_work(work)

    def _place_inputs(self, invocation: Invocation, folder: Path) -> Path:
        link = not self.spec["copy_input"]
        if not self.spec["join"]:
            (item,) = invocation.inputs
            clone(item.path, folder / item.path.name, link=link)
            return folder / item.path.name
        several = len({item.path.name for item in invocation.inputs}) < len(invocation.inputs)
        for item in invocation.inputs:
            # Names are never changed: where two parents chose the same one, each parent gets a folder.
            place = folder / item.parent if several else folder
            place.mkdir(exist_ok=True)
            clone(item.path, place / item.path.name, link=link)
        return folder

    def _command(self) -> List[str]:
        first, *rest = self.spec["command"]
        return [self.interpreter if first in ("python", "python3") else first, *rest]

    def _writer(self, log: Any, tail: Tail, prefix: str) -> Callable[[bytes], None]:
        mark = (f"[{prefix}] ").encode() if prefix else b""

        def write(chunk: bytes) -> None:
            tail.add(chunk)
            if mark:
                lines = chunk.split(b"\n")
                if not lines[-1]:
                    lines.pop()
                chunk = b"".join(mark + line + b"\n" for line in lines)
            with self._lock:
                log.write(chunk)
                if self.echo:
                    self.echo(chunk)

        return write

    def _execute(self, command: List[str], work: Path, write: Callable[[bytes], None]) -> None:
        """Run the command to its end; raises StepError unless it exits with 0 in time."""
        environ, mark = dict(self.environ), f"{self.run_id}/{work.name}"
        environ["PATH"] = os.pathsep.join([str(Path(self.interpreter).parent), environ.get("PATH", os.defpath)])
        environ.update(HOME=str(work / "home"), TMPDIR=str(work / "tmp"), AUTOPIPE_MARK=mark)
        environ["PWD"] = str(work / "cwd")  # to shells, the way there: its real path may have blanks
        environ.update(PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1")
        environ.update(self.spec["env"])
        write(("$ {}\n".format(" ".join(command))).encode())
        try:
            child = subprocess.Popen(
                command,
                cwd=str(work / "cwd"),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise StepError(
                f"cannot start {command[0]}: {error.strerror}",
                "the option `command` names what is run",
                retry=False,
            ) from error
        process, ended_for_memory = Process(child, write, self.cancel), _memory_kills()
        try:
            with self.cancel.watch(child.pid):
                in_time = process.follow(self.spec["timeout"])
        finally:
            process.close(mark)
        if not in_time:
            raise StepError(
                "timed out after {:g} s".format(self.spec["timeout"]),
                "raise its option `timeout`, or see in its log what it waits for",
                exit_status=_told(child.returncode),
            )
        short = _memory_kills() > ended_for_memory
        if child.returncode or (short and self.alone):  # tools are run without a look at how they ended
            raise _exit_error(child.returncode, self.volume, short=short)

    def _check_inputs(self, invocation: Invocation) -> None:
        for item in invocation.inputs:
            if not is_intact(item.path, item.entry):
                raise StepError(
                    f"it changed its input {item.path.name}",
                    "give it a copy: `copy_input: true`",
                    retry=False,
                )

    def _collect(self, folder: Path, invocation: Invocation) -> List[Path]:
        """Return the output files of an invocation; raises StepError when there are none and there should be."""
        names = sorted(name for name in os.listdir(str(folder)) if name.startswith(invocation.name))
        archive = invocation.name + ".tar.gz"
        found: List[Path] = []
        others: List[Path] = []
        for name in [archive] if archive in names else names:
            if not _is_text(name):
                raise StepError(f"wrote a file whose name is no text: {name!a}", "give it one of UTF-8")
            path = folder / name
            if path.is_symlink() and path.is_file():  # what it points to may be scratch
                target = path.resolve()
                path.unlink()
                shutil.copyfile(str(target), str(path))
            (found if path.is_file() else others).append(path)
        if not found and others:
            kind = "a folder" if others[0].is_dir() else "a link to nothing" if others[0].is_symlink() else "no file"
            raise StepError(f"wrote {others[0].name}, which is {kind}", "outputs are files: pack more as OUTPUT.tar.gz")
        if not found and not self.spec["may_skip"]:
            raise StepError(
                "exited with 0 but wrote no output",
                "if that is normal for some inputs, say `optional: true` or give its dependency a probability below 1",
                exit_status=0,
            )
        return found

    def _publish(self, invocation: Invocation, paths: List[Path]) -> List[Record]:
        """Move an invocation's outputs into the step's folder; return their entries."""
        known = {item.entry["inode"]: item.entry for item in invocation.inputs if not self.spec["join"]}
        entries = []
        for path in paths:
            status = path.stat()
            if self.shared and status.st_uid == os.getuid():
                path.chmod(status.st_mode | 0o666)  # temporary files, which some outputs were, are their owner's only
            same = known.get(status.st_ino)  # its own input, linked: 10 GB are not read again
            entries.append(file_entry(path, (same["sha256"], same["content"]) if same else None))
        with self._lock:
            for path in paths:
                owner = self._owners.setdefault(path.name, invocation.name)
                if owner != invocation.name:
                    raise StepError(
                        f"wrote {path.name}, which is an output of {owner} too",
                        "let the component put a separator, such as - or _, between OUTPUT and what it adds",
                        retry=False,
                    )
        for path in paths:
            path.rename(self.volume / self.step / path.name)
        return entries


def _memory_kills() -> int:
    """Return how many processes the kernel has ended here because a limit of memory was reached."""
    # The control group of a container, version 2 or 1; elsewhere there is mostly no such file.
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError), Path(path).open("rb", buffering=0) as file:
            match = re.search(rb"^oom_kill ([0-9]+)$", file.read(4096) or b"", re.MULTILINE)
            if match:
                return int(match.group(1))
    return 0


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name.isprintable()


def _exit_error(status: int, volume: Path, *, short: bool) -> StepError:
    if short:
        how = "was ended" if status < 0 else f"exited with status {status} when a process of it was ended"
        return StepError(
            f"ran out of memory: it {how} by the kernel",
            "raise its option `memory`, or run fewer at once with `cpu`",
            exit_status=_told(status),
        )
    if status > 0:
        return StepError(f"exited with status {status}", _room(volume), exit_status=status)
    name = signal.Signals(-status).name
    hint = (
        "often out of memory: raise its option `memory`, or run fewer at once with `cpu`" if name == "SIGKILL" else ""
    )
    return StepError(f"was ended by {name}", hint, exit_status=_told(status))


def _told(status: int) -> int:
    """Return an exit status as shells tell it: 128 + the number of the signal that ended a process."""
    return status if status >= 0 else 128 - status


def _room(volume: Path) -> str:
    """Return a hint where the volume is full, else nothing."""
    if shutil.disk_usage(str(volume)).free >= 1 << 20:
        return ""
    if "KUBERNETES_SERVICE_HOST" in os.environ:  # we are in a pod
        return "the volume is full: raise STORAGE_SIZE; a volume that is kept from earlier goes with `--clean`"
    return f"the disk of {volume} is full: free some space"


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_task(
    volume: Path,
    plan: Record,
    task: str,
    *,
    interpreter: str = sys.executable,
    environ: Mapping[str, str] = os.environ,
    slots: Optional[ContextManager[object]] = None,
    cancel: Optional[Cancel] = None,
    notify: Callable[[Record], None] = lambda _: None,
    echo: Optional[Callable[[bytes], None]] = None,
    component: Callable[[], Path] = Path.cwd,
    shared: bool = False,
) -> Record:
    """Run a task of the plan on a prepared volume and return its end record, {state, message?, hint?, exit?, tail?}.

    interpreter: the Python that `python` in the component's command means.
    environ: the environment that components inherit.
    slots: bounds how many invocations of all tasks run at once, such as a semaphore.
    notify: called with {event: "start", kept, pending} once and then with the record of each invocation that was run.
    echo: called with what components print.
    component: asked once for the component's folder, when there is something to run; may raise StepError.
    shared: other users work on the volume too, and may read and link what this one makes.
    """
    launcher = Launcher(
        volume,
        plan,
        task,
        interpreter=interpreter,
        environ=environ,
        slots=slots,
        cancel=cancel or Cancel(),
        notify=notify,
        echo=echo,
        component=component,
        shared=shared,
    )
    try:
        return launcher.run()
    except OSError as error:
        name = "" if error.filename is None else f": {error.filename}"
        return {
            "event": "end",
            "state": "failed",
            "message": f"{error.strerror or error}{name}",
            "hint": _room(volume),
        }


def _image_folder() -> Path:
    """Return the component's folder in its image, the working directory."""
    folder = Path.cwd()
    if folder.parent == folder:  # the whole image would be linked
        raise StepError(
            "its image has no working directory",
            "end its Dockerfile with a WORKDIR, the folder that the component's files lie in",
            retry=False,
        )
    return folder


def main(argv: Optional[List[str]] = None) -> int:
    """Run the task named in argv on the volume that this file lies on; return 0 when it is done or skipped.

    After the task comes the run that it is of, where the volume may be another run's by the time that it starts.
    """
    task, *runs = sys.argv[1:] if argv is None else argv
    volume = Path(__file__).resolve().parent.parent
    plan = json.loads((volume / ".autopipe" / "plan.json").read_bytes())
    if runs and runs != [plan["run"]]:
        sys.stderr.write("step {}: run {} is over, the volume is that of run {}\n".format(task, runs[0], plan["run"]))
        return 1
    cancel = Cancel()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: cancel.set())
    out = sys.stdout.buffer

    def echo(chunk: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more; the log on the volume has it all
            out.write(chunk)
            out.flush()

    files = sorted((volume / ".autopipe" / "slots").glob("*"))
    slots = SharedSlots(files, cancel) if files else None
    # On a cluster each image has a user of its own, and so has who brings the outputs home. A tool that runs us as
    # the user that it is itself keeps that user's rights.
    shared = (volume / ".autopipe" / "plan.json").stat().st_uid != os.getuid()
    if shared:
        os.umask(0)
    end = run_task(volume, plan, task, slots=slots, cancel=cancel, echo=echo, component=_image_folder, shared=shared)
    if end["state"] == "failed":
        lines = ["step {}: {}".format(task, end["message"]), end.get("hint") or ""]
        sys.stderr.write("".join(line + "\n" for line in lines if line))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
