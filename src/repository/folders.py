"""The folders of fetched components: `.fetched/<commit>/<name>`, immutable, complete, beside links for people."""

import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.repository.leftovers import PREFIX, remove_leftovers

log = logging.getLogger("autopipe")

FOLDER = ".fetched"
_ABSENT = ".absent"
_OURS = re.compile(r"\.fetched/[0-9a-f]{40,64}/[^/]+")


@dataclass(frozen=True, kw_only=True)
class FetchedStore:
    """What was fetched into a components folder."""

    components: Path  # absolute; need not exist

    @property
    def root(self) -> Path:
        """Where all is that is ours."""
        return self.components / FOLDER

    def folder(self, commit: str, name: str) -> Path:
        """Return where a component of a commit is, once it is there."""
        return self.root / commit / name

    def has(self, commit: str, name: str) -> bool:
        """Whether the component was fetched."""
        return self.folder(commit, name).is_dir()

    def lacks(self, commit: str, name: str) -> bool:
        """Whether the commit is known to have no such component."""
        return (self.root / commit / _ABSENT / name).exists()

    @contextmanager
    def open(self) -> Iterator[Path]:
        """Give an empty folder for what is being made, on the same file system; removed on every path."""
        self.root.mkdir(parents=True, exist_ok=True)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        remove_leftovers(self.root)
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=self.root, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def add(self, commit: str, name: str, made: Path) -> None:
        """Give a complete folder its place; when another process was faster, its folder is the same and stays."""
        target = self.folder(commit, name)
        target.parent.mkdir(exist_ok=True)
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():
                raise

    def add_absent(self, commit: str, name: str) -> None:
        """Note that the commit has no such component."""
        note = self.root / commit / _ABSENT / name
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()

    def _marker(self, url: str, revision: str | None) -> Path:
        key = hashlib.sha256(f"{url}\0{revision or ''}".encode()).hexdigest()[:24]
        return self.root / f"{key}.json"

    def last_commit(self, url: str, revision: str | None) -> str | None:
        """Return the commit that a revision meant when it was last fetched, None when it never was."""
        try:
            record = json.loads(self._marker(url, revision).read_text())
            return record["commit"] if re.fullmatch(r"[0-9a-f]{40,64}", record["commit"]) else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def note_commit(self, url: str, revision: str | None, commit: str) -> None:
        """Remember the commit that a revision means now; url without credentials."""
        if self.last_commit(url, revision) == commit:
            return
        handle, spare = tempfile.mkstemp(prefix=PREFIX, dir=self.root)
        with os.fdopen(handle, "w") as file:
            json.dump({"repository": url, "revision": revision, "commit": commit}, file, indent=1)
            file.flush()
            os.fsync(handle)
        Path(spare).chmod(0o644)
        Path(spare).replace(self._marker(url, revision))

    def is_link_of_ours(self, name: str) -> bool:
        """Whether components/<name> is a link made by show."""
        path = self.components / name
        return path.is_symlink() and _OURS.fullmatch(str(path.readlink())) is not None

    def has_local(self, name: str) -> bool:
        """Whether components/<name> is there and the user's own."""
        return os.path.lexists(self.components / name) and not self.is_link_of_ours(name)

    def show(self, commit: str, name: str) -> bool:
        """Make components/<name> a link to a fetched component; False when the user has something of that name."""
        path, target = self.components / name, f"{FOLDER}/{commit}/{name}"
        try:
            if not os.path.lexists(path):
                path.symlink_to(target)
            elif not self.is_link_of_ours(name):
                return False
            elif str(path.readlink()) != target:
                with tempfile.TemporaryDirectory(prefix=PREFIX, dir=self.root, ignore_cleanup_errors=True) as folder:
                    spare = Path(folder) / "link"
                    spare.symlink_to(target)
                    spare.replace(path)
        except FileExistsError:  # another process made it just now
            return not self.has_local(name)
        except (
            OSError
        ) as error:  # no right to write here, or no links on this file system; people can look into .fetched
            log.debug("no link %s: %s", path, error)
        return True
