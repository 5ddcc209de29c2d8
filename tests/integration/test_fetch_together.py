"""Stage 2 many times at once, and killed at any moment: nothing unfinished is ever taken for a component."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.git_hosts import MAIN, GitHost, Program, Site, Upstream, contents

pytestmark = pytest.mark.usefixtures("clean_git")

ROOT = Path(__file__).parents[2]
FILES = {"main.py": MAIN, "run": Program(b"#!/bin/sh\n"), **{f"data/{n:02}": os.urandom(3000) for n in range(30)}}
MODEL = os.urandom(3_000_000)

FETCH = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from src.dag import Dag
from src.fetch import fetch_components
from src.settings import Settings
dag, cache, url, revision, *names = sys.argv[1:]
dag = Dag(path=Path(dag), name="app", components=tuple(names), edges=(), repository=url, revision=revision or None)
print("ready", flush=True)
for folder in fetch_components(dag, Settings(cache_dir=Path(cache))).values():
    print(folder)
"""


def start(site: Site, url: str, revision: str, *names: str) -> subprocess.Popen[str]:
    arguments = [str(site.dag(None).path), str(site.settings.cache_dir), url, revision, *names]
    command = [sys.executable, "-c", FETCH, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> list[Path]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return [Path(line) for line in output.splitlines() if line != "ready"]


def fill(upstream: Upstream) -> tuple[str, str]:
    upstream.track("*.onnx")
    both = {f"{name}/{file}": content for name in "ab" for file, content in FILES.items()}
    first = upstream.commit({**both, "a/m.onnx": MODEL})
    return first, upstream.commit({"b/main.py": b"second"})


def right(folders: list[Path], first: str, second: str) -> None:
    for folder in folders:
        commit = folder.parent.name
        assert commit in (first, second)
        extra = {"m.onnx": MODEL} if folder.name == "a" else {"main.py": MAIN if commit == first else b"second"}
        assert contents(folder) == {**FILES, **extra}


@pytest.mark.parametrize("manner", ["open", "plain"])
def test_many_at_once(manner: str, git_host: GitHost, upstream: Upstream, site: Site) -> None:
    first, second = fill(upstream)
    url = git_host.url(upstream, manner)
    wanted = [
        ("", "a"),
        ("", "b"),
        (first, "a"),
        (first, "a", "b"),
        ("main", "b", "a"),
        (first[:9], "b"),
        ("", "a", "b"),
    ]
    processes = [start(site, url, *each) for each in wanted]
    results = [finish(process) for process in processes]
    assert [len(folders) for folders in results] == [len(each) - 1 for each in wanted]
    right([folder for folders in results for folder in folders], first, second)
    assert not list(site.folder.rglob(".tmp-*"))
    for name in "ab":
        assert str((site.components / name).readlink()) in {f".fetched/{commit}/{name}" for commit in (first, second)}


@contextmanager
def marked(monkeypatch: pytest.MonkeyPatch, mark: str) -> Iterator[None]:
    """Let all processes started in the block be found, git's among them."""
    monkeypatch.setenv("AUTOPIPE_TEST_MARK", mark)
    yield
    monkeypatch.delenv("AUTOPIPE_TEST_MARK")


def family(mark: str) -> list[int]:
    """Return the processes that were started in a marked block and are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"AUTOPIPE_TEST_MARK={mark}\0".encode() in path.read_bytes() + b"\0":
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_killed_at_any_moment(
    full: bool, git_host: GitHost, upstream: Upstream, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = fill(upstream)
    url = git_host.url(upstream)
    begin = time.monotonic()
    right(finish(start(site, url, "", "a", "b")), first, second)
    whole = time.monotonic() - begin
    moments = random.Random(5)
    killed, turns = 0, 51 if full else 12
    for turn in range(turns):
        if turn % 3 == 0:  # nothing is here, each second time in the cache neither
            (site.components / ".fetched").rename(site.folder / f"done-{turn}")
            if turn % 2:
                site.settings.cache_dir.rename(site.folder / f"cache-{turn}")
        mark = f"{os.getpid()}-{turn}"
        with marked(monkeypatch, mark):
            process = start(site, url, first if turn % 2 else "", "a", "b")
        assert process.stdout
        process.stdout.readline()
        try:
            process.wait(timeout=moments.uniform(0, 0.7 * whole))
        except subprocess.TimeoutExpired:
            killed += 1
        for pid in family(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()
        right(list((site.components / ".fetched").glob("[0-9a-f]*/[ab]")), first, second)
        for path in site.settings.cache_dir.rglob("*.idx"):
            assert path.with_suffix(".pack").exists()
        if turn % 3 == 2:
            right(finish(start(site, url, first, "a", "b")) + finish(start(site, url, "", "a", "b")), first, second)
    assert killed >= turns / 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(
    number: signal.Signals, git_host: GitHost, upstream: Upstream, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.commit({"a/main.py": MAIN})
    dag = site.dag(None).path
    dag.write_text(
        f"System: {{name: app, repository: '{git_host.url(upstream, 'silent')}', components: [a], dependencies: []}}\n"
    )
    mark = f"{os.getpid()}-{number}"
    monkeypatch.setenv("CACHE_DIR", str(site.settings.cache_dir))
    with marked(monkeypatch, mark):
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "download_components.py"), "-i", str(dag)], stderr=subprocess.PIPE, text=True
        )
    deadline = time.monotonic() + 60
    while len(family(mark)) < 3:  # the program, git and its helper, which waits for the server
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "interrupted" in errors
    while family(mark):
        assert time.monotonic() < deadline
    assert not list(site.folder.rglob(".tmp-*"))
