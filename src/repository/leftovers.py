"""Temporary folders: under names that tell them from all else, and removed at a later start when their process died."""

import shutil
import time
from pathlib import Path

PREFIX = ".tmp-autopipe-"
"""How the names of temporary folders and files begin."""

KEPT_SECONDS = 24 * 3600
"""No fetch takes so long; younger ones may be at work."""


def remove_leftovers(folder: Path, pattern: str = f"{PREFIX}*") -> None:
    """Remove temporary folders and files that are more than a day old; what resists is left.

    pattern: a glob, of names that only we and our helpers give.
    """
    oldest = time.time() - KEPT_SECONDS
    for path in folder.glob(pattern):
        try:
            if path.lstat().st_mtime > oldest:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        except OSError:  # another start removes it at the same moment, or it is another user's
            continue
