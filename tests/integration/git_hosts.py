"""Repositories for tests: made with real git and git-lfs, served from folders and over HTTP."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from src.dag import Dag, Options
from src.settings import Settings
from tests.integration.lfs_server.serve import PASSWORD, USER

SERVE = Path(__file__).parent / "lfs_server" / "serve.py"

MAIN = b"print('hello')\n"


class Link(str):
    """Content of a symbolic link."""

    __slots__ = ()


class Program(bytes):
    """Content of a file with the exec bit."""

    __slots__ = ()


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Run git in a folder; return what it prints."""
    done = subprocess.run(["git", *arguments], cwd=folder, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr.decode())
    return done.stdout.decode().strip()


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A bare repository, as others see it, and the clone in which it is worked on."""

    bare: Path
    work: Path
    lfs_url: str

    def commit(self, files: Mapping[str, bytes | Link | None]) -> str:
        """Write files (None: remove), commit, bring it to the served repository; return the commit."""
        for name, content in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None or os.path.lexists(path):
                path.unlink()
            if isinstance(content, Link):
                path.symlink_to(content)
            elif content is not None:
                path.write_bytes(content)
                path.chmod(0o755 if isinstance(content, Program) else 0o644)
        git(self.work, "add", "--all", "--force")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", "change")
        return self.push()

    def push(self) -> str:
        """Bring all to the served repository; return the commit at HEAD."""
        for path in (self.work / ".git/lfs/objects").glob("*/*/*"):
            for place in (self.bare / "lfs/objects" / path.parent.relative_to(path.parents[2]), self.lfs_files):
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)
        for what in ("--all", "--tags"):
            git(self.work, "push", "--quiet", "--no-verify", "--force", what, str(self.bare))
        git(self.bare, "update-server-info")
        return git(self.work, "rev-parse", "HEAD")

    @property
    def lfs_files(self) -> Path:
        """Where the Git LFS server has this repository's files, by id."""
        return self.bare.parents[1] / ".lfs/org" / self.bare.stem

    def track(self, *patterns: str) -> None:
        """Let Git LFS keep the files of these patterns."""
        git(self.work, "lfs", "install", "--local")
        git(self.work, "lfs", "track", *patterns)

    def set(self, name: str, value: str) -> None:
        """Configure the served repository."""
        git(self.bare, "config", name, value)


@dataclass(frozen=True, kw_only=True)
class GitHost:
    """A server of lfs_server/serve.py."""

    root: Path
    address: str  # "http://127.0.0.1:1234"

    def create(self, folder: Path, *, object_format: str = "sha1") -> Upstream:
        """Make an empty repository that supports all that the large hosts do; folder gets the clone."""
        name = f"r{len(list((self.root / 'org').iterdir()))}"
        bare = self.root / "org" / f"{name}.git"
        bare.mkdir()
        git(bare, "init", "--quiet", "--bare", "--initial-branch=main", f"--object-format={object_format}")
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch=main", f"--object-format={object_format}")
        upstream = Upstream(bare=bare, work=folder, lfs_url=f"{self.address}/open/org/{name}.git")
        upstream.set("uploadpack.allowFilter", "true")
        return upstream

    def url(self, upstream: Upstream, manner: str = "open", *, login: bool = False) -> str:
        """Return the address of a repository."""
        scheme, _, host = self.address.partition("://")
        user = f"{USER}:{quote(PASSWORD, safe='')}@" if login else ""
        return f"{scheme}://{user}{host}/{manner}/org/{upstream.bare.name}"

    def requests(self) -> list[tuple[str, str, int, int]]:
        """Return method, path, status and bytes of the requests since the last call."""
        log = self.root / "requests.log"
        text = log.read_text() if log.exists() else ""
        log.unlink(missing_ok=True)
        lines = [line.split() for line in text.splitlines()]
        return [(method, path, int(status), int(size)) for method, path, status, size in lines]


@contextmanager
def run_host(root: Path, *certificate: str) -> Iterator[GitHost]:
    """Run a server on a free port."""
    (root / "org").mkdir(parents=True)
    command = [sys.executable, str(SERVE), str(root), *certificate]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdin
        port = process.stdout.readline().strip()
        assert port, "the server did not start"
        try:
            yield GitHost(root=root, address=f"http{'s' if certificate else ''}://127.0.0.1:{port}")
        finally:
            process.stdin.close()
            process.kill()  # requests that are never answered would keep it


@dataclass(frozen=True, kw_only=True)
class Site:
    """The user's folders: a DAG file's, and the cache."""

    folder: Path

    @property
    def settings(self) -> Settings:
        """Settings with a cache of this test's own."""
        return Settings(cache_dir=self.folder / "cache")

    @property
    def components(self) -> Path:
        """Where components are for people."""
        return self.folder / "dag" / "components"

    def dag(self, repository: str | None, *names: str, revision: str | None = None, **options: Options) -> Dag:
        """Make a DAG of components without edges."""
        (self.folder / "dag").mkdir(exist_ok=True)
        return Dag(
            path=self.folder / "dag" / "application_dag.yaml",
            name="app",
            components=names,
            edges=(),
            repository=repository,
            revision=revision,
            options=options,
            lines={name: 5 + place for place, name in enumerate(names)},
        )


def contents(folder: Path) -> dict[str, bytes | Link | Program]:
    """Return what is in a folder, in the words of Upstream.commit."""
    found: dict[str, bytes | Link | Program] = {}
    for top, _, names in os.walk(folder):
        for name in names + [each for each in os.listdir(top) if (Path(top) / each).is_symlink()]:
            path = Path(top) / name
            inner = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[inner] = Link(path.readlink())
            else:
                data = path.read_bytes()
                found[inner] = Program(data) if path.stat().st_mode & 0o111 else data
    return found
