"""Sums of big files remembered by size, times and inode, so that no model is read again to see that it is the same."""

import json
import logging
import os
import secrets
import time
from pathlib import Path
from typing import Any

from src.step import sha256_of

log = logging.getLogger("autopipe")
WORTH = 1 << 20  # bytes; a smaller file is read as fast as it is looked up


class SumMemory:
    """Sums of files on this machine, kept in one file of the cache; used as a context, written at its end."""

    def __init__(self, cache_dir: Path) -> None:
        self._path = cache_dir / "sums.json"
        self._sums: dict[str, list[Any]] | None = None
        self._changed = False

    def __enter__(self) -> "SumMemory":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._changed:
            return
        try:
            made = self._path.with_name(f"sums.{secrets.token_hex(4)}")
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text(json.dumps(self._sums))
            made.replace(self._path)
        except OSError as error:  # no run fails for want of a memory
            log.debug("sums of files are not remembered: %s", error)

    def sha256(self, path: Path, status: os.stat_result) -> str:
        """Return a file's sha256 in hex, read only where it is not known; raises OSError."""
        if status.st_size < WORTH:
            return sha256_of(path)
        if self._sums is None:
            self._sums = self._load()
        seen = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
        known = self._sums.get(str(path))
        if known and known[0] == seen:
            return str(known[1])
        sha256 = sha256_of(path)
        # Within the clock's grain a file may change without a sign of it.
        if max(status.st_mtime_ns, status.st_ctime_ns) < time.time_ns() - 2_000_000_000:
            self._sums[str(path)] = [seen, sha256]
            self._changed = True
        return sha256

    def _load(self) -> dict[str, list[Any]]:
        try:
            return dict(json.loads(self._path.read_bytes()))
        except (OSError, ValueError):  # absent, torn or not for us: the files are read again
            return {}
