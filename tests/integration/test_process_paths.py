"""Odd paths, names, arguments and variables; joins, shards, previews: what reaches components and what stays."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import ROOT, Project, contents, tree

REPORT = (
    "import json, os, sys\njson.dump({'argv': sys.argv, 'env': dict(os.environ), 'cwd': os.getcwd()}, open(OUT, 'w'))"
)

ODD = [
    *("$(X)", "$(id)", "${HOME}", "$$", "`id`", "{{x}}", "{{inputs.parameters.a}}", "'one'", '"two"', "a b", " ", ""),
    *("-y", "--flag=x y", "*", "~", "a\\b", "line\nbreak", "tab\there", "ünï ☃", "%s %d", "#no comment", "a;b|c&d"),
    *("null", "true", "1.10", "0123"),
]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second have passed since the test wrote its media: one that is written this very moment is not trusted."""
    monkeypatch.setattr("src.media.time", SimpleNamespace(time_ns=lambda: time.time_ns() + 1_000_000_000))


@pytest.mark.parametrize("name", ["plain", "my projects/ünï.dir v1.0", "dot.dot", "-dash", 'quote\'s "x"', "new\nline"])
def test_no_path_disturbs_a_component(tmp_path: Path, name: str) -> None:
    project = Project(tmp_path / name)
    project.output = project.folder / f"out put.{name.replace('/', ' ')}"
    project.media()
    script = (
        'case "$in$out$PWD$HOME$TMPDIR" in *[!A-Za-z0-9_/.-]*) exit 8;; esac; case "${out%/*}" in *.*) exit 9;; esac'
    )
    project.component("a", f'{script}; cp "$in" "$out"')
    project.component("b", f'{script}; cp "$in" "$out"')
    outcome = project.succeed(file=project.write("ab", [["a", "b"]], file=project.folder / "my dag.v2.yaml"))
    assert outcome.out.startswith(str(project.output))
    assert contents(project.place / "latest" / "b") == {"b": b"media"}


def test_media_with_blanks_in_their_names(project: Project, later: None) -> None:
    project.media("1", "my clip.mp4")
    project.media("2", "sub folder/my other\tclip.mp4")
    project.component("a")
    project.write("a")
    outcome = project.succeed()
    assert contents(outcome.folder / "save-media") == {"my_clip.mp4": b"1", "sub_folder_my_other_clip.mp4": b"2"}
    assert contents(outcome.folder / "a") == {"a_my_clip": b"1", "a_sub_folder_my_other_clip": b"2"}
    assert outcome.err.count("my clip.mp4 is stored as my_clip.mp4") == 1
    assert "is stored as" not in project.succeed().err


def test_names_of_files_reach_components_as_they_are(project: Project) -> None:
    names = ["Clip.MP4", "ünï.mp4", "a'b.txt", "x.tar.gz.part", "no-extension", "-dash.txt", "$(id).txt", "{{x}}.txt"]
    for name in names:
        project.media(name, name)
    project.component("a", '[ "$(basename "$in")" = "$(cat "$in")" ] || exit 9; cp "$in" "$out"')
    project.write("a")
    outcome = project.succeed()
    assert sorted(contents(outcome.folder / "a").values()) == sorted(name.encode() for name in names)
    assert all(name.isascii() and " " not in name for name in contents(outcome.folder / "a"))


def test_names_that_are_no_text_are_refused(project: Project) -> None:
    media = project.media()
    project.component("a", 'cp "$in" "$out$(printf "\\377")"')
    project.component("b", 'cp "$in" "$out$(printf "\\033x")"')
    project.write("ab")
    outcome = project.fail(5)
    assert sum("wrote a file whose name is no text" in line for line in outcome.errors) == 2
    Path(os.fsdecode(bytes(media.parent) + b"/\xff\xfe.mp4")).write_bytes(b"media")
    assert "is no text" in project.fail(3).errors[0]


def test_a_terminal_without_the_letters_of_a_name_ends_no_run(project: Project) -> None:
    project.media()
    project.component("a", 'cp "$in" "$out-☃"')
    outcome = project.execute(env={**os.environ, "PYTHONIOENCODING": "ascii"}, file=project.write("a"))
    assert outcome.status == 0, outcome.err
    assert "a-\\u2603" in outcome.out


@pytest.mark.parametrize("names", [["C1", "a.b", "x_Y-1"], ["mask-detector_partition1_1", "filter", "print"]])
def test_names_of_components(project: Project, names: list[str]) -> None:
    project.media()
    for name in names:
        project.component(name)
    outcome_file = project.write(names, list(itertools.pairwise(names)), name="my_new_App.v2")
    outcome = project.succeed(file=outcome_file)
    last = outcome.folder / names[-1]
    assert list(contents(last).values()) == [b"media"]
    assert [line.split()[0] for line in outcome.out.splitlines()[1:]] == ["save-media", *names]


# --- Arguments and variables ---


def test_arguments_and_variables_reach_the_component_as_they_are(project: Project) -> None:
    project.media()
    project.python_component("a", REPORT)
    env = {f"ODD_{number}": text for number, text in enumerate(ODD)}
    project.write("a", options={"a": {"args": ODD, "env": env}})
    outcome = project.succeed()
    report = json.loads((outcome.folder / "a" / "a").read_bytes())
    assert report["argv"][0] == "main.py"
    assert report["argv"][1::2][:2] == ["-i", "-o"]
    assert report["argv"][5:] == ODD
    assert {name: text for name, text in report["env"].items() if name.startswith("ODD_")} == env


def test_what_surrounds_a_component(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REGISTER_PASSWORD", "DEX_PASSWORD", "KFP_TOKEN"):
        monkeypatch.setenv(name, "secret")
    for name in ("PYTHONPATH", "PYTHONHOME"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("OF_THE_USERS", "kept")
    project.media()
    project.python_component("a", REPORT)
    project.write("a")
    outcome = project.succeed()
    report = json.loads((outcome.folder / "a" / "a").read_bytes())
    env = report["env"]
    assert "secret" not in env.values()
    assert "/nowhere" not in env.values()
    assert env["OF_THE_USERS"] == "kept"
    work = report["argv"][2].rpartition("/in/")[0]
    assert report["argv"][2:5:2] == [f"{work}/in/clip.mp4", f"{work}/out/a"]
    assert (env["HOME"], env["TMPDIR"]) == (f"{work}/home", f"{work}/tmp")
    assert Path(report["cwd"]).name == "cwd"
    assert not Path(work).exists()


def test_a_component_runs_among_its_own_files_and_changes_none(project: Project) -> None:
    project.media()
    files = {"model.bin": "weights", "data/labels.txt": "cat"}
    folder = project.component(
        "a",
        'cat model.bin data/labels.txt > "$out"; echo scratch > scratch; echo scratch > data/scratch; rm model.bin; '
        "echo more >> data/labels.txt; mkdir __pycache__",
        files=files,
    )
    (folder / "large.bin").write_bytes(bytes(2 << 20))
    before = tree(folder)
    project.write("a")
    project.media("2", "two.mp4")
    outcome = project.run()
    assert tree(folder) == before
    assert outcome.status == 0, outcome.err
    assert contents(outcome.folder / "a")["a_clip"] == b"weightscat"


def test_secrets_are_not_shown(project: Project) -> None:
    project.media()
    project.component("a", "exit 3")
    project.write("a", options={"a": {"env": {"TOKEN": "hidden-word"}}})
    outcome = project.fail(5)
    assert "hidden-word" not in outcome.err
    (run,) = project.runs()
    assert not [path for path in run.rglob("*") if path.is_file() and b"hidden-word" in path.read_bytes()]


# --- Joins and shards ---


def test_a_join_of_files_that_have_the_same_names(project: Project) -> None:
    # x writes x and x_y, x_y writes x_y: for the join each of them must be a folder, and `x` a file and a folder.
    project.media()
    project.component("x", 'echo 1 > "$out"; echo 2 > "${out}_y"')
    project.component("x_y", 'echo 3 > "$out"')
    project.component(
        "j", '(cd "$in" && find . -type f | sort | while read -r f; do echo "$f $(cat "$f")"; done) > "$out"'
    )
    project.write(["x", "x_y", "j"], [["x", "j"], ["x_y", "j"]], options={"j": {"join": True}})
    outcome = project.succeed()
    assert contents(outcome.folder / "j")["j"].decode().split("\n") == ["./x/x 1", "./x/x_y 2", "./x_y/x_y 3", ""]


def test_shards_change_nothing_but_the_number_of_tasks(project: Project) -> None:
    for number in range(7):
        project.media(str(number), f"{number}.txt")
    for name in "ab":
        project.component(name, 'cp "$in" "${out}_1"; cp "$in" "${out}_2"')
    found = []
    for shards in (1, 3, 100):
        project.write("ab", [["a", "b"]], options={"a": {"shards": shards}, "b": {"shards": shards}})
        outcome = project.succeed("--fresh")
        assert outcome.ran == {"a": 7, "b": 14}
        found.append({name: contents(outcome.folder / name) for name in "ab"})
    assert found[0] == found[1] == found[2]
    assert len(found[0]["b"]) == 28


# --- Looking without touching ---


def test_a_preview_touches_nothing_and_tells_what_would_be_done(project: Project, later: None) -> None:
    project.media()
    for name in "abc":
        project.component(name)
    project.write("abc", [["a", "b"], ["b", "c"]])
    before = tree(project.folder)
    outcome = project.succeed("--dry-run")
    assert tree(project.folder) == before
    lines = outcome.out.splitlines()
    assert [line.split()[1] for line in lines if line.strip()[:1].isdigit()] == ["save-media", "a", "b", "c"]
    project.succeed()
    project.component("b", 'cp "$in" "$out"; echo b >> "$out"')
    before = tree(project.folder)
    shown = {line.split()[1]: line for line in project.succeed("--dry-run").out.splitlines() if "(from" in line}
    assert tree(project.folder) == before
    assert "reused" in shown["a"]
    assert "runs 1 of 1" in shown["b"]
    assert "runs where the outputs of b are new" in shown["c"]
    project.succeed()
    shown = {line.split()[1]: line for line in project.succeed("--dry-run").out.splitlines() if "(from" in line}
    assert len(shown) == 4
    assert all("reused" in line for line in shown.values())


def test_a_preview_tells_which_environments_would_be_made(project: Project) -> None:
    project.media()
    project.component("a", files={"requirements.txt": "a-package-that-no-test-installs"})
    project.write("a")
    before = tree(project.folder)
    lines = project.succeed("--dry-run").out.splitlines()
    assert lines[2] == "environments: 1 of 2 there, to be made: a"
    assert "not made yet" in lines[4]
    assert tree(project.folder) == before


def test_a_preview_says_that_what_was_skipped_must_run_once_it_must_be_there(project: Project, later: None) -> None:
    project.media()
    project.component("a", ":")
    project.write("a", options={"a": {"optional": True}})
    project.succeed()
    project.write("a")
    assert "runs 1 of 1" in project.succeed("--dry-run").out


# --- The command line ---


def test_results_for_a_program_to_read(project: Project) -> None:
    project.media()
    project.component("a", 'cp "$in" "$out.txt"; cp "$in" "$out-2.txt"')
    project.write("a")
    plain = project.succeed()
    shown = json.loads(project.succeed("--json").out)
    assert shown["steps"] == [
        {"step": "save-media", "state": "done", "outputs": ["clip.mp4"]},
        {"step": "a", "state": "done", "outputs": ["a-2.txt", "a.txt"]},
    ]
    assert contents(Path(shown["folder"]) / "a") == contents(plain.folder / "a")


def test_quiet_and_verbose(project: Project) -> None:
    project.media()
    project.component("a", 'echo it speaks; cp "$in" "$out"')
    project.write("a")
    assert project.succeed("-q").err == ""
    assert "it speaks" in project.succeed("-v", "--fresh").err
    assert "it speaks" not in project.succeed("--fresh").err


def test_media_of_the_command_line_takes_the_place_of_the_files(project: Project, tmp_path: Path) -> None:
    project.media("of the file")
    (tmp_path / "other.mp4").write_text("of the command line")
    (tmp_path / "more.mp4").write_text("more")
    project.component("a")
    project.write("a")
    first, second = str(tmp_path / "other.mp4"), str(tmp_path / "more.mp4")
    outcome = project.succeed("--media", first)
    assert contents(outcome.folder / "a") == {"a": b"of the command line"}
    outcome = project.succeed("--media", first, "--media", second)
    assert contents(outcome.folder / "save-media") == {"other.mp4": b"of the command line", "more.mp4": b"more"}
    outcome = project.succeed()
    assert contents(outcome.folder / "save-media") == {"clip.mp4": b"of the file"}
    assert contents(outcome.folder / "a") == {"a": b"of the file"}


@pytest.mark.parametrize("script", ["download_components.py", "docker_build.py", "src/pipeline_manager.py"])
def test_each_stage_runs_alone_from_any_folder(project: Project, tmp_path: Path, script: str) -> None:
    project.media()
    project.component("a")
    project.write("a")
    common = ["-i", "project/dag.yaml", "--env-file", "project/empty.env"]
    more = {"download_components.py": [], "docker_build.py": ["--target", "process"]}.get(
        script, ["--target", "process", "--output", "there"]
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *common, *more],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if script == "src/pipeline_manager.py":
        assert contents(tmp_path / "there" / "app" / "latest" / "a") == {"a": b"media"}
