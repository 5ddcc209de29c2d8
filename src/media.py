"""Stage 1, save media: copies the media once into the store, where the first step finds it."""

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run alone, Python puts this folder on the path; what is imported lies in its parent
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from src.cli import run_program
from src.errors import FetchError, before_work
from src.lock import lock_dag
from src.media_copy import copy_in
from src.media_files import find_media
from src.options import add_common_options, add_media_options
from src.request import Request
from src.step import clone, content_of, is_intact
from src.store import Store, open_store

log = logging.getLogger("autopipe")
INDEX = "media.json"


def save_media(paths: Sequence[Path], store: Store) -> list[dict[str, Any]]:
    """Make sure that the store has the media; return an entry a file: {name, size, mtime_ns, inode, sha256, content}.

    paths: see find_media, with what it raises. A file whose size, times and inode are those of the last time is not
    read again. Raises FetchError when one cannot be read to its end.
    """
    sources = find_media(paths)
    with before_work(store.folder):
        index = _read_index(store)
        before = dict(index)
        entries = [_save(path, name, store, index) for name, path in sources.items()]
        if index != before:
            _write_index(store, index)
    return entries


def saved_media(paths: Sequence[Path], store: Store) -> list[dict[str, Any]] | None:
    """Return what save_media would, where the store has all of it as it is now; None otherwise. Touches nothing."""
    index = _read_index(store)
    entries = [_known(path, name, store, index) for name, path in find_media(paths).items()]
    return [entry for entry in entries if entry] if all(entries) else None


def stage(entries: Sequence[dict[str, Any]], store: Store, folder: Path) -> list[dict[str, Any]]:
    """Lay saved media into folder, each under its own name; return the entries as they are there."""
    staged = []
    for entry in entries:
        target = folder / entry["name"]
        clone(store.media / entry["sha256"], target)
        status = target.stat()
        staged.append({**entry, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino})
    return staged


def _save(path: Path, name: str, store: Store, index: dict[str, Any]) -> dict[str, Any]:
    known = _known(path, name, store, index)
    if known:
        return known
    if re.search(r"\s", path.name):
        log.info("%s is stored as %s: components split paths at blanks", path, name)
    started = time.time_ns()
    try:
        sha256 = copy_in(path, store)
        copy = store.media / sha256
        content = content_of(copy, sha256)
    except OSError as error:
        if error.filename == str(path):
            raise FetchError(f"cannot read the media {path}: {error.strerror}", hint="check its rights") from error
        raise
    source, status = _identity(path), copy.stat()
    entry = {
        "name": name,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "inode": status.st_ino,
        "sha256": sha256,
        "content": content,
    }
    # A file written within the clock's grain may be written again without a sign of it: it is read anew next time.
    grain = 2_000_000_000 if source["mtime_ns"] % 1_000_000_000 == 0 else 50_000_000
    if max(source["mtime_ns"], source["ctime_ns"]) < started - grain:
        index[str(path)] = {"source": source, "stored": entry}
    return entry


def _known(path: Path, name: str, store: Store, index: dict[str, Any]) -> dict[str, Any] | None:
    known = index.get(str(path))
    if known and known["source"] == _identity(path) and known["stored"]["name"] == name:
        stored = dict(known["stored"])
        if is_intact(store.media / stored["sha256"], stored):
            return stored
    return None


def _identity(path: Path) -> dict[str, int]:
    status = path.stat()
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
        "device": status.st_dev,
    }


def _read_index(store: Store) -> dict[str, Any]:
    try:
        return dict(json.loads((store.folder / INDEX).read_bytes()))
    except (FileNotFoundError, ValueError):  # absent, or torn: the media is read again
        return {}


def _write_index(store: Store, index: dict[str, Any]) -> None:
    with store.temporary() as folder:
        (folder / INDEX).write_text(json.dumps(index))
        (folder / INDEX).replace(store.folder / INDEX)


def save(request: Request) -> None:
    """Run stage 1 alone."""
    with lock_dag(request.dag, request.output):
        save_media(request.dag.media, open_store(request.dag, request.output))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    parser = argparse.ArgumentParser(prog="media.py", description="Stage 1: save the media of a DAG file.")
    add_common_options(parser)
    add_media_options(parser)
    return run_program(save, parser, argv)


if __name__ == "__main__":
    raise SystemExit(main())
