"""The store of results by invocation key, `output/<dag>/.store/`: what was made once is not made again.

    objects/<2 hex>/<key>/record.json, <output files>
    media/<sha256>                          the media, copied once (see media.py)
    tmp/                                    entries on their way; each is renamed into place when complete
    lock                                    held, shared, by whoever may have something in tmp/

A run's folder shows the same files by hard links. A file counts only while size, mtime and inode are what its
entry says. Entries are complete or absent, so several runs may share a store without a lock.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from src import step as launcher
from src.dag import Dag
from src.lock import dag_folder, share_lock, try_lock
from src.step import Record


def link_file(source: Path, target: Path) -> None:
    """Make target the same file by a hard link, or a copy where links are refused; raises OSError."""
    try:
        os.link(source, target)
    except (PermissionError, OSError):
        shutil.copy2(source, target)


def open_store(dag: Dag, output: Path, *, fresh: bool = False) -> "Store":
    """Return the store of a DAG below the output folder; fresh: nothing in it is taken over."""
    return Store(dag_folder(dag, output) / ".store", reuse=not fresh)


class Store:
    """A store folder; reads are off for a run that shall start from nothing (`--fresh`)."""

    def __init__(self, folder: Path, *, reuse: bool = True) -> None:
        self.folder = folder
        self.media = folder / "media"
        self.reuse = reuse
        self._held = False

    def find(self, key: str) -> Record | None:
        """Return the record kept under a key, its outputs intact, or None."""
        if not self.reuse:
            return None
        place = self._place(key)
        try:
            record: Record = json.loads((place / "record.json").read_bytes())
        except (FileNotFoundError, ValueError):  # absent, or written in the moment the power went
            return None
        return record if _is_whole(record, place) else None

    def put(self, record: Record, folder: Path) -> None:
        """Keep a record whose output files are in folder; what is kept already stays."""
        place = self._place(record["key"])
        if self.reuse and self.find(record["key"]) is not None:
            return
        with self.temporary() as made:
            outputs = []
            for entry in record["outputs"]:
                link_file(folder / entry["name"], made / entry["name"])
                sums = (entry["sha256"], entry["content"])
                outputs.append(launcher.file_entry(made / entry["name"], sums))
            (made / "record.json").write_text(json.dumps({**record, "outputs": outputs}))
            place.parent.mkdir(parents=True, exist_ok=True)
            if not _move(made, place):
                with contextlib.suppress(FileNotFoundError), self.temporary() as old:
                    place.rename(old / "old")  # broken, or to be made fresh
                _move(made, place)  # else another run of the same name was first, with the same content

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Give a new folder on the store's disk, removed at the end unless it was renamed."""
        self._hold()
        path = self.folder / "tmp" / secrets.token_hex(8)
        path.mkdir(parents=True)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _hold(self) -> None:
        """Take a share of the store's lock; who has it alone first removes what dead runs left on its way."""
        if self._held:
            return
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        weakref.finalize(self, os.close, fd)
        if try_lock(fd):
            for path in temporary.iterdir():
                launcher.remove_tree(path)
        share_lock(fd)
        self._held = True

    def inputs(self, parent: str, records: Iterable[Record]) -> list[launcher.Input]:
        """Return the output files of kept records as inputs of what comes after parent."""
        return [
            launcher.Input(parent, self._place(record["key"]) / entry["name"], entry)
            for record in records
            for entry in record["outputs"]
        ]

    def _place(self, key: str) -> Path:
        return self.folder / "objects" / key[:2] / key

    # --- Between a volume and the store ---

    def adopt(self, volume: Path, plan: Record, task: str) -> list[Record] | None:
        """Put what the store has of a task onto the volume, files and journal.

        Return its records when that completes the task, which then needs no launcher any more; else None. The parents
        must be complete. Whatever cannot be listed is left to the launcher, which says why.
        """
        spec = plan["tasks"][task]
        folder = volume / spec["step"]
        try:
            invocations = launcher.list_invocations(volume, plan, task)
        except launcher.StepError:
            return None
        is_new = not folder.exists()
        folder.mkdir(exist_ok=True)
        found = [record for one in invocations if (record := self.find(one.key))]
        records = [laid for record in found if (laid := self._lay(record, folder))]
        if is_new and len(records) == len(invocations) and _fit_together(records, spec):
            launcher.record_task(volume, plan, task, records)
            return records
        if records:
            journal = launcher.Journal(launcher.journal_path(volume, task))
            journal.append(records)
            journal.close()
        return None

    def _lay(self, record: Record, folder: Path) -> Record | None:
        """Lay a record's files into folder; return it as it is there, None when another run has just replaced it."""
        outputs = []
        for entry in record["outputs"]:
            target = folder / entry["name"]
            if not launcher.is_intact(target, entry):
                target.unlink(missing_ok=True)
                try:
                    link_file(self._place(record["key"]) / entry["name"], target)
                except FileNotFoundError:
                    return None
            laid = launcher.file_entry(target, (entry["sha256"], entry["content"]))
            if (laid["size"], laid["mtime_ns"]) != (entry["size"], entry["mtime_ns"]):
                return None
            outputs.append(laid)
        return {**record, "outputs": outputs}

    def keep(self, volume: Path, task: str, records: Iterable[Record] | None = None) -> None:
        """Take over what a task's journal says is done and is intact on the volume.

        records: those of the journal that may be new, where it was read already.
        """
        folder = volume / task.partition("@")[0]
        for record in launcher.read_journal(launcher.journal_path(volume, task)) if records is None else records:
            if record["event"] == "invocation" and record["state"] != "failed" and _is_whole(record, folder):
                self.put(record, folder)


def _move(made: Path, place: Path) -> bool:
    try:
        made.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _fit_together(records: list[Record], spec: Record) -> bool:
    # Records of different runs may name the same file, or have no output where there has to be one now.
    names = [entry["name"] for record in records for entry in record["outputs"]]
    return len(set(names)) == len(names) and (spec["may_skip"] or all(record["outputs"] for record in records))


def _is_whole(record: Record, folder: Path) -> bool:
    return all(launcher.is_intact(folder / entry["name"], entry) for entry in record["outputs"])
