"""What is run again after a change: exactly what it must; and nothing after a change that is none.

The graph, each step with the number of its invocations for the three media files:

    media ─ a(3) ─┬─ b(3) ─┬─ d(1, a join) ─ e(1)
                  └─ c(3) ─┘
"""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from src import environments
from src import step as launcher
from tests.support import Project, make_wheel

Options = dict[str, dict[str, Any]]


@dataclass
class State:
    """All that the user has written, as a test changes it."""

    components: list[str] = field(default_factory=lambda: ["a", "b", "c", "d", "e"])
    edges: list[list[Any]] = field(
        default_factory=lambda: [["a", "b", 1], ["a", "c", 1], ["b", "d", 1], ["c", "d", 1], ["d", "e", 1]]
    )
    options: Options = field(default_factory=lambda: {name: {} for name in "abce"} | {"d": {"join": True}})
    media: dict[str, str] = field(default_factory=lambda: {"one.txt": "1", "two.txt": "2", "three.txt": "3"})
    files: dict[str, str] = field(
        default_factory=lambda: {
            "a/main.sh": 'cp "$2" "$4"\n',
            "b/main.sh": 'cp "$2" "$4"; echo "b $MODE" >> "$4"\n',
            "b/requirements.txt": "",
            "c/main.sh": 'out=$4; { cat "$2"; shift 4; echo "c $*"; } > "$out"\n',
            "c/model.bin": "weights",
            "c/tool": "#!/bin/sh\n",
            "d/main.sh": 'cat "$2"/* > "$4"\n',
            "e/main.sh": 'cp "$2" "$4.txt"\n',
        }
    )
    links: dict[str, str] = field(default_factory=lambda: {"c/current": "model.bin"})
    modes: dict[str, int] = field(default_factory=dict)
    end: str = ""

    def write(self, project: Project) -> None:
        """Write it all anew: so each file has another inode and other times than before."""
        for name in ("components", "media"):
            shutil.rmtree(project.folder / name, ignore_errors=True)
        for name, content in self.media.items():
            project.media(content, name)
        for inner, text in self.files.items():
            path = project.folder / "components" / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(self.modes.get(inner, 0o644))
        for inner, target in self.links.items():
            (project.folder / "components" / inner).symlink_to(target)
        project.write(self.components, self.edges, options=self.options)
        with project.file.open("a") as file:
            file.write(self.end)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, run once; every test leaves its results where they are."""
    project = Project(tmp_path_factory.mktemp("changes") / "project")
    make_wheel(project.folder / "wheels", "nothing")
    make_wheel(project.folder / "wheels", "nothing", "2.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_FIND_LINKS", str(project.folder / "wheels"))
        State().write(project)
        assert project.succeed().ran == {"a": 3, "b": 3, "c": 3, "d": 1, "e": 1}
        yield project


def replaced(name: str, old: str, new: str) -> Callable[[State], None]:
    """Return the change of a text in a component's file."""

    def change(state: State) -> None:
        assert old in state.files[name]
        state.files[name] = state.files[name].replace(old, new)

    return change


def option(name: str, **options: Any) -> Callable[[State], None]:
    return lambda state: state.options[name].update(options)


def moved_file(state: State) -> None:
    state.files["c/model2.bin"] = state.files.pop("c/model.bin")
    state.links["c/current"] = "model2.bin"


def without_last(state: State) -> None:
    del state.components[-1], state.edges[-1], state.options["e"]


ALL = {"a": 3, "b": 3, "c": 3, "d": 1, "e": 1}
REAL: dict[str, tuple[Callable[[State], Any], dict[str, int]]] = {
    "comment": (replaced("a/main.sh", "cp", "# a comment\ncp"), {"a": 3}),
    "code": (replaced("a/main.sh", '"$4"', '"$4"; echo more >> "$4"'), ALL),
    "code in the middle": (replaced("b/main.sh", "b $MODE", "B $MODE"), {"b": 3, "d": 1, "e": 1}),
    "requirement": (lambda state: state.files.update({"b/requirements.txt": "nothing==1.0\n"}), {"b": 3}),
    "its version": (lambda state: state.files.update({"b/requirements.txt": "nothing==2.0\n"}), {"b": 3}),
    "argument": (option("c", args=["-y", "model.bin"]), {"c": 3, "d": 1, "e": 1}),
    "env": (option("b", env={"MODE": "fast"}), {"b": 3, "d": 1, "e": 1}),
    "command": (option("e", command=["sh", "-e", "main.sh"]), {"e": 1}),
    "no join": (option("d", join=False, command=["sh", "-c", 'cp "$2" "$4"', "x"]), {"d": 6, "e": 6}),
    "media": (lambda state: state.media.update({"two.txt": "zwei"}), {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}),
    "more media": (lambda state: state.media.update({"four.txt": "4"}), {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}),
    "less media": (lambda state: state.media.pop("one.txt"), {"d": 1, "e": 1}),
    "media's name": (
        lambda state: state.media.update({"uno.txt": state.media.pop("one.txt")}),
        {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1},
    ),
    "edge away": (lambda state: state.edges.pop(2), {"d": 1, "e": 1}),
    "edge more": (lambda state: state.edges.append(["c", "e", 1]), {"e": 4}),
    "component away": (without_last, {}),
    "data file": (lambda state: state.files.update({"c/labels.txt": "cat dog"}), {"c": 3}),
    "removed file": (lambda state: state.files.pop("c/tool"), {"c": 3}),
    "file's name": (moved_file, {"c": 3}),
    "exec bit": (lambda state: state.modes.update({"c/tool": 0o755}), {"c": 3}),
    "link": (lambda state: state.links.update({"c/current": "tool"}), {"c": 3}),
}


@pytest.mark.parametrize("kind", REAL)
def test_a_real_change_runs_what_it_must_and_its_undoing_nothing(base: Project, kind: str) -> None:
    change, expected = REAL[kind]
    state = State()
    change(state)
    state.write(base)
    assert base.succeed().ran == expected
    State().write(base)
    assert base.succeed().ran == {}


def test_another_launcher_or_another_stub_runs_all(base: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    State().write(base)
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "VERSION", launcher.VERSION + 1)
        outcome = base.succeed()
        assert outcome.ran == ALL
        assert outcome.record["steps"][0]["ran"] == 3  # save-media too
    with monkeypatch.context() as patch:
        patch.setattr(environments, "_stub_sum", lambda: "another")
        assert base.succeed().ran == ALL
    assert base.succeed().ran == {}


# --- Changes that are none ---


def set_times(project: Project) -> None:
    for path in project.folder.rglob("*"):
        if "output" not in path.parts:
            os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)


def set_modes(project: Project) -> None:
    for path in (project.folder / "components").rglob("*.*"):
        path.chmod(0o600, follow_symlinks=True)


def set_owner(project: Project) -> None:
    # Only root can; for anybody else this is a change of the group to one's own.
    number = 1234 if os.geteuid() == 0 else -1
    for path in (project.folder / "components").rglob("*"):
        os.chown(path, number, os.getegid(), follow_symlinks=False)


def add_caches(project: Project) -> None:
    for inner in ("a/__pycache__/main.cpython-311.pyc", "b/.git/HEAD", "c/__pycache__/x.pyc"):
        path = project.folder / "components" / inner
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")


def write_block_style(project: Project) -> None:
    state = State()
    lines = ["# The same file, as a person writes it.", "System:", "  name: app  # its name", "  input_media: ./media/"]
    lines += ["  components:", *(f"  - {name}" for name in state.components), "  dependencies:"]
    lines += [f"  - ['{parent}', \"{child}\"]" for parent, child, _ in state.edges]
    lines += ["  options:", "    d:", "      join: true", "      command: [sh, main.sh]"]
    lines += [f"    {name}: {{command: [sh, main.sh]}}" for name in "abce"]
    project.file.write_text("\n".join(lines) + "\n")


NONE_ON_DISK: dict[str, Callable[[Project], None]] = {
    "written anew": lambda _: None,
    "mtime": set_times,
    "mode": set_modes,
    "owner": set_owner,
    "caches": add_caches,
    "block style": write_block_style,
    "a media file's mode": lambda project: (project.folder / "media" / "one.txt").chmod(0o444),
}
NONE_IN_FILE: dict[str, Callable[[State], Any]] = {
    "order of components": lambda state: state.components.reverse(),
    "order of edges": lambda state: state.edges.reverse(),
    "order of options": lambda state: setattr(state, "options", dict(reversed(state.options.items()))),
    "a comment in the YAML": lambda state: setattr(state, "end", "# a comment\n"),
    "cpu": option("c", cpu=2),
    "memory": option("c", memory="1Gi"),
    "gpu": option("c", gpu=1),
    "timeout": option("c", timeout="1h"),
    "retries": option("c", retries=3),
    "shards": option("c", shards=2),
    "copy_input": option("c", copy_input=True),
    "optional": option("c", optional=True),
    "defaults said": option("a", join=False, optional=False, args=[], env={}, shards=1, retries=0, copy_input=False),
    "nowhere to run": option("c", node_selector={"disk": "ssd"}, tolerations=[{"operator": "Exists"}]),
    "this Python": option("c", python=platform.python_version()),
    "probability": lambda state: setattr(state, "edges", [[*edge[:2], 0.7] for edge in state.edges]),
    "media as a list": lambda _: None,
}


@pytest.mark.parametrize("kind", NONE_ON_DISK)
def test_a_change_on_the_disk_that_is_none_runs_nothing(base: Project, kind: str) -> None:
    State().write(base)
    NONE_ON_DISK[kind](base)
    outcome = base.succeed()
    assert outcome.ran == {}
    assert outcome.record["steps"][0]["ran"] == 0


@pytest.mark.parametrize("kind", NONE_IN_FILE)
def test_a_change_of_the_file_that_is_none_runs_nothing(base: Project, kind: str) -> None:
    state = State()
    NONE_IN_FILE[kind](state)
    state.write(base)
    if kind == "media as a list":
        files = [str(base.folder / "media" / name) for name in reversed(state.media)]
        base.write(state.components, state.edges, options=state.options, media=files)
    assert base.succeed().ran == {}


def test_a_moved_checkout_runs_nothing(base: Project, tmp_path: Path) -> None:
    State().write(base)
    there = Path(shutil.move(base.folder, tmp_path / "else where"))
    try:
        outcome = Project(there).succeed()
        assert outcome.ran == {}
        assert outcome.record["steps"][0]["ran"] == 0
    finally:
        shutil.move(there, base.folder)
    assert base.succeed().ran == {}
