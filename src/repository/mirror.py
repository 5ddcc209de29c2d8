"""What was fetched of a repository is kept, and each fetch works in a folder of its own that borrows from it.

Git's own locks (refs, shallow) would make two fetches into one mirror disturb each other, and outlive a kill. So a
mirror here is a plain store: packs under names made of their content, commits noted in `tips/`, Git LFS's files. All
of it comes there complete, by a rename.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.repository.config import make_config
from src.repository.door import SSH, GitFolder, check_git
from src.repository.leftovers import PREFIX, remove_leftovers
from src.repository.url import Repository

TIPS = 16
"""Commits that a server is told we have; more would cost more than they save."""

_SHOWN_LAST = ".idx"
"""Git takes it as the sign of a whole pack."""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A private git folder that may borrow from a mirror."""

    git: GitFolder
    mirror: Path
    config: str

    def reset(self, *, borrow: bool = True) -> None:
        """Make the folder new: nothing in it, and the mirror's objects in sight if borrow."""
        folder = self.git.folder
        for name in ("objects", "refs"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in ("packed-refs", "shallow", "index"):
            (folder / name).unlink(missing_ok=True)
        for name in ("objects/info", "objects/pack", "refs"):
            (folder / name).mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/none\n")
        self.forget_partial()
        if borrow:
            (folder / "objects/info/alternates").write_text(f"{self.mirror / 'objects'}\n")
            self._tell_tips()

    def _tell_tips(self) -> None:
        tips = sorted((self.mirror / "tips").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[:TIPS]
        refs = "".join(f"{path.name} refs/tips/{path.name}\n" for path in sorted(tips))
        (self.git.folder / "packed-refs").write_text(f"# pack-refs with: sorted \n{refs}")
        if shallow := [path.name for path in tips if path.read_text() == "shallow\n"]:
            (self.git.folder / "shallow").write_text("".join(f"{name}\n" for name in shallow))

    def forget_partial(self) -> None:
        """Drop what a partial fetch adds to the configuration: git would fetch what is missing, object by object."""
        (self.git.folder / "config").write_text(self.config)

    def has_tip(self, commit: str) -> bool:
        """Whether the mirror, in sight, has this commit and all its trees."""
        return (self.git.folder / "objects/info/alternates").exists() and (self.mirror / "tips" / commit).exists()

    def keep(self, tip: str | None = None) -> None:
        """Put what was fetched into the mirror; a tip is a commit whose trees are all there."""
        objects = self.git.folder / "objects"
        packs = sorted((objects / "pack").glob("pack-*"), key=lambda path: path.suffix == _SHOWN_LAST)
        for path in [*packs, *objects.glob("[0-9a-f][0-9a-f]/[0-9a-f]*")]:
            _publish(path, self.mirror / path.relative_to(self.git.folder))
        if tip:
            shallow = self.git.folder / "shallow"
            note = self.git.folder / "tip"
            note.write_text("shallow\n" if shallow.exists() and tip in shallow.read_text().split() else "whole\n")
            _publish(note, self.mirror / "tips" / tip)


def _publish(path: Path, target: Path) -> None:
    """Make a file appear under another name on this file system, whole, in the place of what is there."""
    target.parent.mkdir(exist_ok=True)
    spare = path.with_name(f"{path.name}.kept")
    try:
        os.link(path, spare)
    except OSError:  # no hard links here
        shutil.copy2(path, spare)
    spare.replace(target)
    spare.unlink(missing_ok=True)  # still there when both were the same file


@contextmanager
def open_workspace(repository: Repository, cache_dir: Path, *, object_format: str = "sha1") -> Iterator[Workspace]:
    """Give a new workspace that borrows from the repository's mirror; it is removed on every path.

    Raises FetchError when git is missing or too old, OSError when cache_dir cannot be written.
    """
    name = hashlib.sha256(repository.url.encode()).hexdigest()[:24]
    mirror = cache_dir / "mirrors" / (name if object_format == "sha1" else f"{name}-{object_format}")
    mirror.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # private repositories are in it
    for part in ("objects/pack", "tips", "lfs"):
        (mirror / part).mkdir(parents=True, exist_ok=True)
    remove_leftovers(mirror)
    remove_leftovers(mirror, "lfs/incomplete/*")  # of downloads that were killed; younger ones are gone on with
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=mirror, ignore_cleanup_errors=True) as folder:
        git = GitFolder(folder=Path(folder), repository=repository)
        check_git(git.folder)
        # Not by lfs.storage: where the remote is a folder, git-lfs would take that for the remote's storage as well.
        (git.folder / "lfs").symlink_to(mirror / "lfs")
        config = make_config(repository, object_format=object_format, ssh_command=_ssh_command(git))
        work = Workspace(git=git, mirror=mirror, config=config)
        work.reset()
        yield work


def _ssh_command(git: GitFolder) -> str:
    """Return the ssh command to use, empty where the user chose one."""
    if git.repository.protocol != "ssh" or {"GIT_SSH_COMMAND", "GIT_SSH"} & os.environ.keys():
        return ""
    return "" if git.attempt("config", "--get", "core.sshCommand").output.strip() else SSH
