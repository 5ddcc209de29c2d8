"""Git, run through GitPython; the only door to it."""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.errors import FetchError
from src.repository.causes import Cause
from src.repository.errors import GitError, Outcome, explain
from src.repository.url import PROTOCOLS, Repository

if TYPE_CHECKING:
    from git import Git  # noqa: TID251  # this is the door

MINIMUM_GIT = (2, 29)
"""The first that can fetch a list of objects without telling what it has."""

LOCAL_SECONDS = 3600.0
LOOK_SECONDS = 180.0
FETCH_SECONDS = 6 * 3600.0
"""Limits of a command: on this disk only; one question to a server; files of any size from a server."""

WHOLE_DEPTH = "--depth=2147483647"
"""All of the history. Each fetch with a filter asks for some depth: a plain web server then fails at once, where git
before 2.44 would take it for one that filters, and start itself again and again for each object that is missing."""

STALL_SECONDS = 60
"""A connection over which nothing comes for so long is dead."""

USERNAME, PASSWORD = "AUTOPIPE_GIT_USERNAME", "AUTOPIPE_GIT_PASSWORD"  # names of variables
SSH = (
    f"ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax={STALL_SECONDS // 15}"
)


@dataclass(frozen=True, kw_only=True)
class GitFolder:
    """A git folder (what `.git` is in a clone) on which commands are run, for one remote repository."""

    folder: Path
    repository: Repository
    work_tree: Path | None = None

    def run(self, *arguments: str, stdin: bytes = b"", timeout: float = LOCAL_SECONDS) -> bytes:
        """Run git and return its output. Raises GitError when it fails, FetchError when there is no usable git."""
        outcome = self.attempt(*arguments, stdin=stdin, timeout=timeout)
        if outcome.status:
            raise explain(outcome, self.repository)
        return outcome.output

    def attempt(self, *arguments: str, stdin: bytes = b"", timeout: float = LOCAL_SECONDS) -> Outcome:
        """Run git and return how it ended. Raises GitError after timeout seconds, FetchError when there is no git."""
        git = open_git(self.folder)
        # A session of its own: git's helpers can be ended with it, and none of them can ask at the terminal.
        process = git.execute(
            [git.GIT_PYTHON_GIT_EXECUTABLE or "git", *arguments],
            istream=subprocess.PIPE,
            as_process=True,
            env=self._environment(),
            start_new_session=True,
        )
        words = arguments[2:] if arguments[0] == "-c" else arguments
        command = " ".join(words[: 2 if words[0] == "lfs" else 1])
        try:
            output, errors = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired as error:
            raise GitError(
                f"git {command} took longer than {timeout / 60:.0f} minutes for {self.repository.url}",
                cause=Cause.TIMEOUT,
                hint="try again; what has come so far is kept where git can go on from it",
            ) from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        text = self.repository.mask(errors.decode("utf-8", "replace"))
        return Outcome(command=command, status=process.returncode, output=output, errors=text)

    def _environment(self) -> dict[str, str]:
        """Return the variables for git; those of a surrounding git (we may run in a hook) are set to ours."""
        values = {
            "GIT_DIR": str(self.folder),
            "GIT_COMMON_DIR": str(self.folder),
            "GIT_WORK_TREE": str(self.work_tree or self.folder),
            "GIT_INDEX_FILE": str(self.folder / "index"),
            "GIT_OBJECT_DIRECTORY": str(self.folder / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
            "GIT_NAMESPACE": "",
            "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
            "GIT_TERMINAL_PROMPT": "0",
            # A program: it says no at once, where a window would wait for ever. What the user chose for git stays.
            "GIT_ASKPASS": os.environ.get("GIT_ASKPASS") or "false",
            "SSH_ASKPASS": "false",
            "GCM_INTERACTIVE": "never",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_ADVICE": "0",
        }
        for role in ("AUTHOR", "COMMITTER"):
            values |= {f"GIT_{role}_NAME": "autopipe", f"GIT_{role}_EMAIL": "autopipe@localhost"}
            values |= {f"GIT_{role}_DATE": "@0 +0000"}
        if self.repository.has_login:
            values[USERNAME] = self.repository.username or ""
            values[PASSWORD] = self.repository.password or ""
        return values


def open_git(folder: Path) -> "Git":
    """Return GitPython's runner in a folder. Raises FetchError when git or GitPython is missing."""
    try:
        from git import Git  # noqa: TID251  # this is the door
    except ModuleNotFoundError as error:
        raise FetchError(
            f"the Python package {error.name} is missing", hint="pip install -r requirements.txt"
        ) from error
    except ImportError as error:  # GitPython looks for the executable when it is imported
        raise _missing_git() from error
    return Git(str(folder))


def check_git(folder: Path) -> None:
    """Raise FetchError when git is missing, or older than MINIMUM_GIT."""
    git = open_git(folder)
    from git.exc import GitCommandNotFound  # noqa: TID251  # this is the door

    try:
        version = git.version_info
    except GitCommandNotFound as error:
        raise _missing_git() from error
    if version[:2] < MINIMUM_GIT:
        have, need = (".".join(map(str, numbers)) for numbers in (version, MINIMUM_GIT))
        raise FetchError(f"git {have} is too old", hint=f"install git {need} or newer")


def _missing_git() -> FetchError:
    return FetchError(
        "git is not installed, and the DAG file names a repository",
        hint="install git (Debian, Ubuntu: apt install git), or put the components here and drop `repository:`",
    )
