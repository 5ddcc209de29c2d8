"""When steps and invocations run, side by side or not; and what is said of them afterwards."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from src import step as launcher
from tests.support import Project, contents, read_record

MEET = 'echo here > "$THERE" & read -r _ < "$HERE"; wait; cp "$in" "$out"'


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "cores", lambda: 2)


@pytest.fixture
def fifos(tmp_path: Path) -> list[str]:
    found = [str(tmp_path / name) for name in ("left", "right")]
    for path in found:
        os.mkfifo(path)
    return found


@pytest.mark.usefixtures("two_cores")
def test_a_step_starts_the_moment_its_parents_end(project: Project, fifos: list[str]) -> None:
    # `slow` ends only after `second` has run: whoever waits for all steps of a row would wait for ever.
    project.media()
    project.component("first")
    project.component("second", 'cp "$in" "$out"; echo done > "$GATE"')
    project.component("slow", 'read -r _ < "$GATE"; cp "$in" "$out"')
    env = {name: {"env": {"GATE": fifos[0]}, "timeout": 60} for name in ("second", "slow")}
    project.write(["slow", "first", "second"], [["first", "second"]], options=env)
    project.succeed()


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("options", [{}, {"cpu": 2}, {"cpu": 2, "memory": "1Gi"}, {"shards": 2}])
def test_invocations_of_a_step_run_side_by_side(project: Project, fifos: list[str], options: dict[str, object]) -> None:
    # Each waits for the other.
    project.media("1", "one.txt")
    project.media("2", "two.txt")
    script = f"HERE={fifos[0]} THERE={fifos[1]}; case $in in *two*) HERE={fifos[1]} THERE={fifos[0]};; esac; {MEET}"
    project.component("a", script)
    project.write("a", options={"a": {**options, "timeout": 60}})
    assert contents(project.succeed().folder / "a") == {"a_one": b"1", "a_two": b"2"}


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("options", [{"cpu": 1}, {"memory": "1Gi"}, {"cpu": 0.5}])
def test_invocations_run_one_by_one_where_the_step_says_so(
    project: Project, tmp_path: Path, options: dict[str, object]
) -> None:
    for number in range(12):
        project.media(str(number), f"{number}.txt")
    project.component("a", 'mkdir "$ALONE" || exit 9; cp "$in" "$out"; sleep 0.01; rmdir "$ALONE"')
    project.write("a", options={"a": {**options, "env": {"ALONE": str(tmp_path / "alone")}}})
    assert project.succeed().ran == {"a": 12}


@pytest.mark.usefixtures("two_cores")
def test_never_more_run_at_once_than_there_are_cores(project: Project, tmp_path: Path) -> None:
    for number in range(6):
        project.media(str(number), f"{number}.txt")
    count = 'echo + >> "$LOG"; sleep 0.02; echo - >> "$LOG"; cp "$in" "$out"'
    for name in "abc":
        project.component(name, count)
    log = tmp_path / "log"
    project.write("abc", options={name: {"env": {"LOG": str(log)}, "cpu": 4} for name in "abc"})
    project.succeed()
    running, most = 0, 0
    for line in log.read_text().split():
        running += 1 if line == "+" else -1
        most = max(most, running)
    assert (running, most) == (0, 2)


# --- What is said afterwards ---


@pytest.fixture
def small(project: Project) -> Project:
    project.media("1", "one.txt")
    project.media("2", "two.txt")
    project.component("a", 'cp "$in" "$out-<b>.html"; cp "$in" "$out-2.jpg"')
    project.component("b", 'tar -czf "$out.tar.gz" main.sh')
    project.write("ab", [["a", "b"]])
    return project


def test_the_record_of_a_run_is_true(small: Project) -> None:
    outcome = small.succeed()
    record, folder = outcome.record, outcome.folder
    assert record["run"] == folder.name
    assert (record["state"], record["target"], record["dag"]) == ("done", "process", "app")
    assert (record["file"], record["repository"], record["commit"]) == (str(small.file), None, None)
    assert record["started"] <= record["ended"]
    assert [step["step"] for step in record["steps"]] == ["save-media", "a", "b"]
    assert [step["ran"] for step in record["steps"]] == [2, 2, 4]
    for step in record["steps"]:
        told = {entry["name"]: entry for one in step["invocations"] for entry in one["outputs"]}
        assert set(told) == set(contents(folder / step["step"]))
        for name, content in contents(folder / step["step"]).items():
            assert told[name]["sha256"] == hashlib.sha256(content).hexdigest()
            assert told[name]["size"] == len(content)
            assert (told[name]["content"] == told[name]["sha256"]) == (not name.endswith(".tar.gz"))
        assert len({one["key"] for one in step["invocations"]}) == len(step["invocations"])
    parents = {entry["parent"] for one in record["steps"][2]["invocations"] for entry in one["inputs"]}
    assert parents == {"a"}
    again = small.succeed().record
    assert [step["reused"] for step in again["steps"]] == [2, 2, 4]
    assert [one["run"] for step in again["steps"] for one in step["invocations"]] == [record["run"]] * 8


def test_the_report_shows_every_step_and_no_name_is_taken_for_markup(small: Project) -> None:
    page = (small.succeed().folder / "report.html").read_text()
    assert "<h2>a</h2>" in page
    assert "a_one-&lt;b&gt;.html" in page
    assert "<b>.html" not in page
    assert "<img loading=lazy alt='' src='a/a_one-2.jpg'>" in page
    assert "href='a/a_one-%3Cb%3E.html'" in page


def test_results_are_told_on_stdout_and_all_else_on_stderr(small: Project) -> None:
    outcome = small.succeed()
    folder, *lines = outcome.out.splitlines()
    assert Path(folder).is_dir()
    assert [line.split()[:2] for line in lines] == [["save-media", "done"], ["a", "done"], ["b", "done"]]
    assert "and 1 more" in lines[1]
    assert "a: 2 to run" in outcome.err
    assert folder not in outcome.err


def test_latest_leads_to_the_last_run_that_went_well(small: Project) -> None:
    first = small.succeed().folder
    assert (small.place / "latest").resolve() == first
    small.component("a", "exit 3")
    small.fail(5)
    assert (small.place / "latest").resolve() == first
    assert read_record(small.runs()[-1])["state"] == "failed"
    small.component("a")
    last = small.succeed().folder
    assert (small.place / "latest").resolve() == last != first


def test_a_fresh_start_takes_nothing_over_and_is_taken_over_itself(project: Project, tmp_path: Path) -> None:
    project.media()
    project.component("a", 'echo x >> "$COUNT"; cat "$COUNT" > "$out"')
    project.write("a", options={"a": {"env": {"COUNT": str(tmp_path / "count")}}})
    for arguments, content in (([], b"x\n"), ([], b"x\n"), (["--fresh"], b"x\nx\n"), ([], b"x\nx\n")):
        assert contents(project.succeed(*arguments).folder / "a") == {"a": content}


def test_runs_that_were_deleted_take_no_results_with_them(small: Project) -> None:
    shutil.rmtree(small.succeed().folder)
    outcome = small.succeed()
    assert outcome.ran == {}
    assert len(contents(outcome.folder / "b")) == 4


def test_what_an_earlier_run_had_never_leaks_into_another(small: Project) -> None:
    small.succeed()
    (small.folder / "media" / "one.txt").unlink()
    folder = small.succeed().folder
    assert set(contents(folder / "save-media")) == {"two.txt"}
    assert set(contents(folder / "a")) == {"a-<b>.html", "a-2.jpg"}


# --- Where components come from ---


def test_components_beside_the_dag_file_win_over_the_tools_own(project: Project, tmp_path: Path) -> None:
    project.media()
    project.component("tune", 'echo mine > "$out"')  # the sample has one of that name
    project.write(["tune"])
    assert contents(project.succeed().folder / "tune") == {"tune": b"mine\n"}


def test_a_folder_of_components_overrides_both(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.media()
    project.component("a", "exit 9")
    project.write("a")
    other = Project(tmp_path / "other")
    other.component("a", 'echo theirs > "$out"')
    monkeypatch.setenv("COMPONENTS_DIR", str(tmp_path / "other" / "components"))
    assert contents(project.succeed().folder / "a") == {"a": b"theirs\n"}
    shutil.rmtree(tmp_path / "other")
    assert str(tmp_path / "other") in project.fail(3).errors[0]


def test_a_component_that_is_a_link_to_a_folder(project: Project, tmp_path: Path) -> None:
    project.media()
    shutil.move(project.component("a"), tmp_path / "elsewhere")
    (project.folder / "components" / "a").symlink_to(tmp_path / "elsewhere")
    project.write("a", options={"a": {"command": ["sh", "main.sh"]}})
    assert contents(project.succeed().folder / "a") == {"a": b"media"}


def test_a_component_that_is_edited_while_it_runs(project: Project, tmp_path: Path) -> None:
    # `a` edits `b`, which has not begun: what runs is what the plan was made for, or nothing.
    project.media()
    b = project.component("b")
    project.component("a", f'cp "$in" "$out"; echo "echo edited > \\"\\$out\\"" >> {b / "main.sh"}')
    project.write("ab", [["a", "b"]])
    outcome = project.fail(5)
    assert "was changed after the run had started" in outcome.errors[0]
    project.component("a")
    assert contents(project.succeed().folder / "b") == {"b": b"edited\n"}


def test_the_plan_is_not_left_behind(small: Project) -> None:
    folder = small.succeed().folder
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b", "logs", "report.html", "run.json", "save-media"]
    assert json.loads((folder / "run.json").read_bytes())["state"] == "done"
