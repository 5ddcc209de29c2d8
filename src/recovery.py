"""What runs left behind that died: their finished files are taken over, their processes and containers ended."""

import contextlib
import json
import logging
import os
from pathlib import Path

from src import step as launcher
from src.errors import ImageError
from src.lock import try_lock
from src.paths import plain_link
from src.record import CLOSING, PRIVATE, RECORD, close_folder, record_text, write_text
from src.settings import Settings
from src.step import Record
from src.store import Store

log = logging.getLogger("autopipe")


def recover_runs(folder: Path, store: Store, settings: Settings) -> int:
    """Take over from the dead runs below a DAG's folder; return how many there were.

    One whose containers may be at work, for their engine does not answer, is left as it is, with a warning.
    A run at work holds the lock in its folder. The same DAG name may be run from another file at the same time.
    """
    recovered = 0
    for private in sorted(folder.glob(f"*/{PRIVATE}")):
        try:
            fd = os.open(private / "lock", os.O_RDWR)
        except FileNotFoundError:
            continue  # closed at this very moment, by its run or by another start
        try:
            if try_lock(fd):
                recovered += _recover(private.parent, store, settings)
        finally:
            os.close(fd)
    for closing in folder.glob(f"*/{CLOSING}"):
        close_folder(closing.parent)
    return recovered


def _recover(folder: Path, store: Store, settings: Settings) -> bool:
    record = _read_record(folder)
    try:
        removed = _end_containers(folder, settings) if record.get("target") == "docker" else 0
    except ImageError as error:
        log.warning("run %s died and is left for another start, when its engine answers: %s", folder, error.message)
        return False
    killed = launcher.kill_marked(folder.name)
    for journal in sorted((folder / PRIVATE / "steps").glob("*.jsonl")):
        store.keep(folder, journal.stem)
    if record.get("state") == "running":
        write_text(folder / RECORD, record_text({**record, "state": "interrupted"}))
    plain_link(folder).unlink(missing_ok=True)
    close_folder(folder)
    log.debug("took over what run %s had finished; ended %d processes, %d containers", folder.name, killed, removed)
    return True


def _end_containers(folder: Path, settings: Settings) -> int:
    from src.targets.docker import end_run  # with what it imports, which other runs do without

    return end_run(folder.name, folder, settings)


def _read_record(folder: Path) -> Record:
    with contextlib.suppress(FileNotFoundError, ValueError):  # it died before it wrote one
        return dict(json.loads((folder / RECORD).read_bytes()))
    return {}
