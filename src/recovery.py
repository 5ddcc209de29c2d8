"""What runs left behind that died: their finished files are taken over, their processes ended."""

import contextlib
import json
import logging
import os
from pathlib import Path

from src import step as launcher
from src.lock import try_lock
from src.paths import plain_link
from src.record import CLOSING, PRIVATE, RECORD, close_folder, write_text
from src.store import Store

log = logging.getLogger("autopipe")


def recover_runs(folder: Path, store: Store) -> int:
    """Take over from the dead runs below a DAG's folder; return how many there were.

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
                _recover(private.parent, store)
                recovered += 1
        finally:
            os.close(fd)
    for closing in folder.glob(f"*/{CLOSING}"):
        close_folder(closing.parent)
    return recovered


def _recover(folder: Path, store: Store) -> None:
    killed = launcher.kill_marked(folder.name)
    for journal in sorted((folder / PRIVATE / "steps").glob("*.jsonl")):
        store.keep(folder, journal.stem)
    with contextlib.suppress(FileNotFoundError, ValueError):
        record = json.loads((folder / RECORD).read_bytes())
        if record["state"] == "running":
            write_text(folder / RECORD, json.dumps({**record, "state": "interrupted"}, indent=1) + "\n")
    plain_link(folder).unlink(missing_ok=True)
    close_folder(folder)
    log.debug("took over what run %s had finished; ended %d processes of it", folder.name, killed)
