"""A run on a volume that is served: prepared, run by the launcher as pods run it, brought home, carried back."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from src import step as launcher
from src.dag import parse_dag
from src.errors import ConfigError, ImageError, OutputError
from src.kube.bring import Home, bring_home
from src.kube.carry import carry
from src.kube.prepare import prepare
from src.kube.tidings import Growth
from src.media import save_media
from src.plan import make_plan, plan_document
from src.record import PRIVATE, prepare_volume
from src.store import Store
from tests.integration.volume_server import ROOT, LoopHelper, loop_helper, run_server

DAG = """
System:
  name: runs
  components: [split, join, never]
  dependencies: [[split, join, 1], [split, never, 1]]
  options:
    split: {shards: 2}
    join: {join: true}
    never: {optional: true}
"""

SPLIT = """
import argparse, pathlib
p = argparse.ArgumentParser(); p.add_argument("-i"); p.add_argument("-o"); a = p.parse_args()
text = pathlib.Path(a.i).read_text()
print("splitting", a.i)
for number, word in enumerate(text.split()):
    pathlib.Path(f"{a.o}_{number}.txt").write_text(word)
"""
JOIN = """
import argparse, pathlib
p = argparse.ArgumentParser(); p.add_argument("-i"); p.add_argument("-o"); a = p.parse_args()
pathlib.Path(a.o + ".txt").write_text(" ".join(f.read_text() for f in sorted(pathlib.Path(a.i).iterdir())))
"""
CODE = {"split": SPLIT, "join": JOIN, "never": "print('nothing')"}


class Site:
    """This machine and the volume of one run."""

    def __init__(self, tmp_path: Path, port: int, *, run_id: str = "run1", text: str = DAG) -> None:
        self.tmp_path = tmp_path
        self.volume = tmp_path / "volume"
        self.requests: list[str] = []
        self.helper = loop_helper(port, self._note)
        self.store = Store(tmp_path / "store")
        self.folder = tmp_path / run_id
        (self.folder / PRIVATE).mkdir(parents=True)
        prepare_volume(self.folder)
        self.plan = make_plan(parse_dag(text, tmp_path / "dag.yaml"))
        media = save_media([self._media("a.txt", "one two three"), self._media("b.txt", "four five")], self.store)
        names = [step.name for step in self.plan.steps]
        self.document = plan_document(
            self.plan,
            run_id=run_id,
            keys={name: f"key of {name}" for name in names},
            sums=dict.fromkeys(names, ""),
            media=media,
            parallel=1,
        )
        self.media = {entry["name"]: self.store.media / entry["sha256"] for entry in media}

    def _note(self, what: str) -> None:
        if what != "read":
            self.requests.append(what)

    def _media(self, name: str, text: str) -> Path:
        path = self.tmp_path / "media" / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_text(text)
        return path

    def run_task(self, task: str, *, status: int = 0) -> None:
        """Run a task as its pod does."""
        step = self.document["tasks"][task]["step"]
        component = self.tmp_path / "components" / step
        component.mkdir(parents=True, exist_ok=True)
        if step == "save-media":
            component = ROOT / "src" / "save-media"
        else:
            (component / "main.py").write_text(CODE[step])
        script = self.volume / ".autopipe" / "step.py"
        done = subprocess.run([sys.executable, script, task], cwd=component, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr

    def run_all(self) -> None:
        for task in self.document["tasks"]:
            self.run_task(task)

    def bring(self, tasks: list[str] | None = None, *, strict: bool = True) -> None:
        home = Home(
            folder=self.folder,
            scratch=self.tmp_path / "scratch",
            known={path.name: path for path in self.media.values()},
        )
        bring_home(self.helper, home, self.document, tasks or list(self.document["tasks"]), strict=strict)

    def outputs(self, root: Path) -> dict[str, bytes]:
        steps = [step.name for step in self.plan.steps]
        files = [path for step in steps for path in (root / step).glob("*") if path.is_file()]
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    def records(self, root: Path, task: str) -> list[dict[str, Any]]:
        return launcher.last_attempt(launcher.read_journal(launcher.journal_path(root, task)))


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "volume").mkdir()
    with run_server(tmp_path / "volume", media=tmp_path / "image") as (port, _):
        yield port


@pytest.fixture
def site(tmp_path: Path, port: int) -> Site:
    return Site(tmp_path, port)


def test_a_prepared_volume_has_what_steps_need_and_any_user_may_write(site: Site) -> None:
    prepare(site.helper, site.document, site.media)
    assert json.loads((site.volume / ".autopipe/plan.json").read_bytes()) == site.document
    assert (site.volume / ".autopipe/step.py").read_bytes() == Path(launcher.__file__).read_bytes()
    for name in (".autopipe/steps", ".autopipe/logs", ".autopipe/media", "_work", "save-media", "split", "join"):
        assert (site.volume / name).stat().st_mode & 0o777 == 0o777, name
    for path in (site.volume / ".autopipe/media").iterdir():
        assert path.stat().st_mode & 0o666 == 0o666  # else another user may not link to it
    assert {p.name: p.read_text() for p in (site.volume / ".autopipe/media").iterdir()} == {
        "a.txt": "one two three",
        "b.txt": "four five",
    }


def test_media_that_is_there_does_not_travel_again(site: Site) -> None:
    prepare(site.helper, site.document, site.media)
    (site.volume / ".autopipe/media/a.txt").write_text("one two thrEe")  # as long, but another
    (site.volume / ".autopipe/media/old.txt").write_text("of an earlier run")
    site.requests.clear()
    prepare(site.helper, site.document, site.media)
    sent = [one for one in site.requests if "media/" in one]
    assert len(sent) == 1
    assert "a.txt" in sent[0]
    assert sorted(path.name for path in (site.volume / ".autopipe/media").iterdir()) == ["a.txt", "b.txt"]
    assert (site.volume / ".autopipe/media/a.txt").read_text() == "one two three"


def test_media_of_the_image_is_copied_there(site: Site) -> None:
    for name, path in site.media.items():
        (site.tmp_path / "image").mkdir(exist_ok=True)
        (site.tmp_path / "image" / name).write_bytes(path.read_bytes())
    prepare(site.helper, site.document, None)
    assert (site.volume / ".autopipe/media/a.txt").read_text() == "one two three"
    assert not [one for one in site.requests if "/take" in one and "media" in one]


def test_an_image_without_the_media_is_an_image_error(site: Site) -> None:
    with pytest.raises(ImageError, match=r"does not have the media a\.txt"):
        prepare(site.helper, site.document, None)
    (site.tmp_path / "image").mkdir()
    (site.tmp_path / "image" / "a.txt").write_text("another")
    with pytest.raises(ImageError, match=r"has another a\.txt"):
        prepare(site.helper, site.document, None)


def test_a_volume_that_is_too_small_is_told_before_the_media_travels(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.kube.prepare._probe", lambda _: 1 << 20)
    with pytest.raises(ConfigError, match="the volume has 1 MiB free") as caught:
        prepare(site.helper, site.document, site.media)
    assert "STORAGE_SIZE" in caught.value.hint
    assert not [one for one in site.requests if "media/" in one]


def test_a_run_comes_home_as_if_it_had_been_here(site: Site) -> None:
    prepare(site.helper, site.document, site.media)
    site.run_all()
    site.bring()
    assert site.outputs(site.folder) == site.outputs(site.volume)
    assert len(site.outputs(site.folder)) == 2 + 5 + 1
    assert site.outputs(site.folder)["join/join.txt"] == b"one two three four five"
    for task, spec in site.document["tasks"].items():
        here, there = site.records(site.folder, task), site.records(site.volume, task)
        assert [record["event"] for record in here] == [record["event"] for record in there]
        for record in here:
            for entry in record.get("outputs", ()):
                assert launcher.is_intact(site.folder / spec["step"] / entry["name"], entry)
        site.store.keep(site.folder, task)
        for record in here[:-1]:
            assert site.store.find(record["key"]) is not None
    logs = site.folder / ".autopipe/logs"
    assert "splitting" in (logs / "split.log").read_text()
    assert (logs / "split.log").read_bytes() == (site.volume / ".autopipe/logs/split.log").read_bytes()


def test_what_is_here_is_not_fetched(site: Site) -> None:
    prepare(site.helper, site.document, site.media)
    site.run_all()
    site.requests.clear()
    site.bring(["save-media"])
    bundles = [one for one in site.requests if "/give" in one]
    assert len(bundles) == 1  # the journal; the media is here
    media = site.folder / "save-media" / "a.txt"
    assert media.stat().st_ino == site.media["a.txt"].stat().st_ino
    site.bring()
    site.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in site.folder.glob("*/*") if path.is_file()}
    site.bring()
    assert len([one for one in site.requests if "/give" in one]) == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_log_that_was_followed_is_only_completed(site: Site) -> None:
    prepare(site.helper, site.document, site.media)
    site.run_all()
    growth = Growth(site.helper, {})
    seen: dict[str, bytes] = {}
    for path, at, data in growth.read():
        assert at == len(seen.get(path, b""))
        seen[path] = seen.get(path, b"") + data
    assert list(growth.read()) == []
    for path, data in seen.items():
        assert (site.volume / path).read_bytes() == data
    log = site.folder / ".autopipe/logs/split.log"
    log.write_bytes(b"#" * 10)  # what a follower wrote; told from what is fetched
    site.bring()
    assert log.read_bytes() == b"#" * 10 + seen[".autopipe/logs/split.log"][10:]


def test_a_task_at_work_or_failed_comes_home_with_what_it_has(site: Site) -> None:
    prepare(site.helper, site.document, site.media)
    site.run_task("save-media")
    site.run_task("split@0")
    before = CODE["split"]
    CODE["split"] = "raise SystemExit(3)"
    try:
        site.run_task("split@1", status=1)
    finally:
        CODE["split"] = before
    site.bring(strict=False)
    assert sorted(site.outputs(site.folder)) == [
        "save-media/a.txt", "save-media/b.txt",
        "split/split_a_0.txt", "split/split_a_1.txt", "split/split_a_2.txt",
    ]  # fmt: skip
    assert site.records(site.folder, "split@1")[-1]["state"] == "failed"
    assert site.records(site.folder, "join") == []
    site.store.keep(site.folder, "split@0")
    assert site.store.find(site.records(site.folder, "split@0")[0]["key"])


@pytest.mark.parametrize("harm", ["gone", "changed", "leads out"])
def test_a_missing_output_is_an_error_unless_the_run_failed_anyway(site: Site, harm: str) -> None:
    prepare(site.helper, site.document, site.media)
    site.run_all()
    path = site.volume / "join/join.txt"
    if harm == "gone":
        path.unlink()
    elif harm == "changed":
        path.write_text("other")
    else:
        journal = site.volume / ".autopipe/steps/join.jsonl"
        (site.volume / "x").write_bytes(path.read_bytes())
        journal.write_text(journal.read_text().replace('"join.txt"', '"../x"'))
    with pytest.raises(OutputError, match="outputs of join are missing on the volume"):
        site.bring()
    assert not (site.folder / "join").exists()
    site.bring(strict=False)
    assert [record["event"] for record in site.records(site.folder, "join")] == ["end"]
    assert len(site.outputs(site.folder)) == 2 + 5
    assert not (site.folder / "x").exists()


def test_results_that_are_here_have_nothing_to_run_there(site: Site, tmp_path: Path) -> None:
    prepare(site.helper, site.document, site.media)
    site.run_all()
    site.bring()
    for task in site.document["tasks"]:
        site.store.keep(site.folder, task)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "volume").mkdir()
    with run_server(tmp_path / "second" / "volume") as (port, _):
        other = Site(tmp_path / "second", port, run_id="run2")
        other.store.folder, other.store.media = site.store.folder, site.store.media
        prepare(other.helper, other.document, other.media)
        assert carry(other.helper, other.store, other.document) == 2 + 1 + 5
        other.requests.clear()
        assert carry(other.helper, other.store, other.document) == 0  # it is there
        assert not [one for one in other.requests if "/take" in one]
        (other.volume / "split/split_b_0.txt").unlink()  # lost on the volume: it is carried once more
        assert carry(other.helper, other.store, other.document) == 1
        other.run_task("save-media")
        before = dict(CODE)
        CODE.update(dict.fromkeys(CODE, "raise SystemExit('was run again')"))
        try:
            for task in list(other.document["tasks"])[1:]:
                other.run_task(task)
        finally:
            CODE.update(before)
    assert other.outputs(other.volume) == site.outputs(site.volume)


def test_a_helper_that_asks_again_brings_all_over_a_bad_way(site: Site) -> None:
    prepare(site.helper, site.document, site.media)
    site.run_all()
    chance = random.Random(1)

    def trouble(_: str) -> None:
        if chance.random() < 0.3:
            raise ConnectionResetError

    assert isinstance(site.helper, LoopHelper)
    site.helper.door._trouble = trouble  # type: ignore[attr-defined]
    site.bring()
    assert site.outputs(site.folder) == site.outputs(site.volume)
    assert site.helper.broken


PRIVATE_FILE = """
import argparse, os, pathlib, tempfile
p = argparse.ArgumentParser(); p.add_argument("-i"); p.add_argument("-o"); a = p.parse_args()
fd, name = tempfile.mkstemp(dir=pathlib.Path(a.o).parent)
os.write(fd, b"x")
pathlib.Path(name).rename(a.o + ".txt")
"""


@pytest.mark.parametrize(("owner", "modes"), [(1000, {0o666}), (os.getuid(), {0o600, 0o644})])
def test_what_a_pod_of_another_user_makes_can_be_read_by_all(
    site: Site, monkeypatch: pytest.MonkeyPatch, owner: int, modes: set[int]
) -> None:
    monkeypatch.setitem(CODE, "split", PRIVATE_FILE)
    prepare(site.helper, site.document, site.media)
    os.chown(site.volume / ".autopipe/plan.json", owner, -1)
    for task in ("save-media", "split@0"):
        site.run_task(task)
    made = [*(site.volume / "split").iterdir(), *(site.volume / ".autopipe/steps").iterdir()]
    assert {path.stat().st_mode & 0o777 for path in made} == modes
    for record in site.records(site.volume, "split@0"):
        for entry in record.get("outputs", ()):
            assert launcher.is_intact(site.volume / "split" / entry["name"], entry)
