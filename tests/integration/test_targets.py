"""The contract of targets: the same graph, the same outputs, states, messages and statuses, wherever steps run."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.on_targets import TargetProject, anywhere, client
from tests.support import contents, marked_processes, read_record

__all__ = ["anywhere", "client"]

DIGEST = 'tag() { printf "%s(%s)" "$1" "$(cat "$in")"; }; '


def steps_of(run: Path) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in read_record(run)["steps"]}


# --- Graphs ---


def test_fan_out_fan_in_filter_and_join(anywhere: TargetProject) -> None:
    anywhere.media("1", "one.mp4")
    anywhere.media("2", "two.mp4")
    anywhere.component("cut", DIGEST + 'for n in 0 1 2; do tag "c$n" > "${out}_$n.txt"; done')
    anywhere.component("pick", DIGEST + 'case $in in *_1*) ;; *) tag p > "$out.txt";; esac')
    anywhere.component("copy", DIGEST + 'tag k > "$out"')
    anywhere.component("both", DIGEST + 'tag b > "$out"')
    anywhere.component("all", 'cat "$in"/* > "$out"; ls "$in" | sort > names; cat names >> "$out"')
    edges = [("cut", "pick", 1), ("cut", "copy", 1), ("pick", "both", 0.5), ("copy", "both", 1), ("both", "all", 1)]
    anywhere.write(["all", "both", "copy", "pick", "cut"], edges, options={"all": {"join": True}})
    outcome = anywhere.succeed()
    folder = outcome.folder
    assert contents(folder / "cut") == {
        f"cut_{name}_{n}.txt": f"c{n}({m})".encode() for name, m in (("one", 1), ("two", 2)) for n in range(3)
    }
    assert contents(folder / "pick") == {
        f"pick_{name}_{n}.txt": f"p(c{n}({m}))".encode() for name, m in (("one", 1), ("two", 2)) for n in (0, 2)
    }
    assert sorted(contents(folder / "both").values()) == sorted(
        [f"b({kind}(c{n}({m})))".encode() for m in (1, 2) for kind, ns in (("p", (0, 2)), ("k", (0, 1, 2))) for n in ns]
    )
    (joined,) = contents(folder / "all").values()
    parts = contents(folder / "both")
    assert joined == b"".join(parts[name] for name in sorted(parts)) + "".join(f"{n}\n" for n in sorted(parts)).encode()
    steps = steps_of(folder)
    assert {name: (step["state"], step["ran"]) for name, step in steps.items()} == {
        "save-media": ("done", 2),
        "cut": ("done", 2),
        "pick": ("done", 6),
        "copy": ("done", 6),
        "both": ("done", 10),
        "all": ("done", 1),
    }
    assert [one["state"] for one in steps["pick"]["invocations"]].count("skipped") == 2
    again = anywhere.succeed()
    assert again.ran == {}
    assert contents(again.folder / "all") == contents(folder / "all")


def test_shards_share_the_files(anywhere: TargetProject) -> None:
    for number in range(7):
        anywhere.media(str(number), f"{number}.txt")
    anywhere.component("a", 'cat "$in" > "$out"; case $in in *3.txt) printf x > "${out}-more";; esac')
    anywhere.component("b", 'cat "$in"/* > "$out"')
    anywhere.write(["a", "b"], [["a", "b"]], options={"a": {"shards": 3}, "b": {"join": True}})
    folder = anywhere.succeed().folder
    assert contents(folder / "a") == {f"a_{n}": str(n).encode() for n in range(7)} | {"a_3-more": b"x"}
    assert contents(folder / "b") == {"b": b"0123x456"}
    assert steps_of(folder)["a"]["ran"] == 7


def test_a_preview_tells_what_there_is_to_run_in(anywhere: TargetProject) -> None:
    anywhere.media()
    anywhere.component("a")
    anywhere.write(["a"])
    anywhere.succeed()
    assert "2 of 2 there" in anywhere.execute("--dry-run").out
    if anywhere.target == "docker":
        (anywhere.folder / "components" / "a" / "more").write_text("x")
        lines = anywhere.execute("--dry-run", "--rebuild").out.splitlines()
        assert lines[2] == "images: 0 of 2 there, to be made: save-media, a"
        assert anywhere.execute("--dry-run").out.splitlines()[2] == "images: 1 of 2 there, to be made: a"


def test_only_what_changed_is_run_again(anywhere: TargetProject) -> None:
    anywhere.media("1", "one.txt")
    anywhere.media("2", "two.txt")
    anywhere.component("a", 'cat "$in" > "$out"; printf "%s" "$@" >> "$out"')
    anywhere.component("b")
    anywhere.write("ab", [["a", "b"]])
    anywhere.succeed()
    anywhere.media("3", "three.txt")
    assert anywhere.succeed().ran == {"a": 1, "b": 1}
    anywhere.write("ab", [["a", "b"]], options={"a": {"args": ["-x"]}})
    assert anywhere.succeed().ran == {"a": 3, "b": 3}
    assert anywhere.succeed("--fresh").ran == {"a": 3, "b": 3}


def test_media_with_any_name(anywhere: TargetProject) -> None:
    names = ["my clip.mp4", "it's $HOME {{x}}.mp4", "Grüße.mp4", ".tar.gz.mp4"[1:], "-i.mp4"]
    for name in names:
        anywhere.media(name, name)
    anywhere.component("a", 'printf "%s:" "${in##*/}" > "$out"; cat "$in" >> "$out"')
    anywhere.write("a")
    folder = anywhere.succeed().folder
    stored = [name.replace(" ", "_") for name in names]
    assert sorted(contents(folder / "save-media")) == sorted(stored)
    assert sorted(contents(folder / "a").values()) == sorted(
        f"{there}:{name}".encode() for there, name in zip(stored, names, strict=True)
    )


# --- What a component is given ---

ODD = [
    "",
    " ",
    "a b",
    "$HOME",
    "`id`",
    "'",
    '"',
    "\\",
    "\n",
    "{{workflow.name}}",
    "{{$.inputs}}",
    "ä☃",
    "-x",
    "*",
    "%s",
]


def test_arguments_and_variables_arrive_byte_for_byte(anywhere: TargetProject) -> None:
    anywhere.media()
    anywhere.component("a", 'env -0 | grep -z \'^ODD\' > "$out.env"; printf \'%s\\0\' "$@" > "$out.args"')
    anywhere.write("a", options={"a": {"args": ODD, "env": {f"ODD{n}": value for n, value in enumerate(ODD)}}})
    found = contents(anywhere.succeed().folder / "a")
    assert found["a.args"] == "".join(f"{value}\0" for value in ODD).encode()
    assert sorted(found["a.env"].split(b"\0")[:-1]) == sorted(f"ODD{n}={value}".encode() for n, value in enumerate(ODD))


def test_the_surroundings_of_a_component(anywhere: TargetProject) -> None:
    anywhere.media()
    look = (
        'for folder in "$HOME" "$TMPDIR" . "${in%/*}" "${out%/*}"; do echo x > "$folder/scratch"; done; '
        'cat model/weights > "$out"; python -c "import sys; print(sys.version_info[0])" >> "$out"; umask >> "$out"; '
        'echo $(ls "$HOME" "$TMPDIR" | wc -l) >> "$out"; [ ! -t 0 ] && cat >> "$out"'
    )
    folder = anywhere.component("a", look, files={"model/weights": "7\n"})
    anywhere.write("a")
    assert contents(anywhere.succeed().folder / "a") == {"a": b"7\n3\n0022\n5\n"}
    assert sorted(path.name for path in folder.iterdir()) == ["main.sh", "model"]


def test_what_a_component_prints_is_in_its_log(anywhere: TargetProject) -> None:
    for number in range(3):
        anywhere.media(str(number), f"{number}.txt")
    anywhere.component("a", r'echo "this is $(cat "$in")"; printf "\377\n" >&2; cp "$in" "$out"')
    anywhere.write("a")
    outcome = anywhere.succeed("-v")
    log = (outcome.folder / "logs" / "a.log").read_bytes()
    for number in range(3):
        assert f"[a_{number}] this is {number}\n".encode() in log
        assert f"[a_{number}] this is {number}\n" in outcome.err
    assert log.count(b"\377\n") == 3


# --- Failures ---

FAILURES: dict[str, tuple[str, dict[str, Any], str, str, int | None]] = {
    # script, options, message, what the hint says, exit status
    "exits": ('echo begun > "$out"; echo why; exit 3', {}, "exited with status 3", "", 3),
    "exits-255": ("exit 255", {}, "exited with status 255", "", 255),
    "exits-137": ("exit 137", {}, "exited with status 137", "", 137),
    "writes-nothing": (":", {}, "exited with 0 but wrote no output", "optional: true", 0),
    "is-killed": ("kill -9 $$", {}, "was ended by SIGKILL", "memory", 137),
    "crashes": ("kill -11 $$", {}, "was ended by SIGSEGV", "", 139),
    "writes-a-folder": ('mkdir "$out"', {}, "wrote writes-a-folder, which is a folder", "OUTPUT.tar.gz", None),
    "packs-nothing": (
        'tar -czf "$out.tar.gz" -T /dev/null',
        {},
        "packs-nothing.tar.gz is an archive without members",
        "nothing to pack",
        None,
    ),
    "has-no-program": ("", {"command": ["no-such-program"]}, "cannot start no-such-program: ", "`command`", None),
    "hangs": ("sleep 1000 & sleep 1000 & wait", {"timeout": 0.3}, "timed out after 0.3 s", "`timeout`", 143),
    "tries": ("exit 9", {"retries": 1}, "exited with status 9", "", 9),
    "changes-its-input": ('cp "$in" "$out"; echo x >> "$in"', {}, "it changed its input clip.mp4", "copy_input", None),
}


def test_failures_are_told_and_the_other_branches_go_on(
    anywhere: TargetProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.step.reflink", lambda *_: False)  # inputs are links, as on most disks
    names = [name for name in FAILURES if name != "changes-its-input"]
    anywhere.media()
    for name in names:
        anywhere.component(name, FAILURES[name][0])
    for name in ("after", "good"):
        anywhere.component(name)
    options = {name: FAILURES[name][1] for name in names}
    anywhere.write([*names, "after", "good"], [[name, "after"] for name in names], options=options)
    outcome = anywhere.fail(5)
    (run,) = anywhere.runs()
    steps = steps_of(run)
    for name in names:
        _, _, message, hint, status = FAILURES[name]
        step = steps[name]
        assert (step["state"], step["ran"]) == ("failed", 1), name
        assert step["message"].startswith(message), name
        assert hint in (step["hint"] if hint else ""), name
        (invocation,) = step["invocations"]
        assert invocation["exit"] == status, name
        assert invocation["attempts"] == (2 if name == "tries" else 1)
    assert steps["exits"]["tail"][-1] == "why"
    assert (steps["after"]["state"], steps["good"]["state"]) == ("not run", "done")
    assert contents(run / "good") == {"good": b"media"}
    assert outcome.errors[0] == f"error: step exits: {FAILURES['exits'][2]}"
    assert read_record(run)["state"] == "failed"
    assert marked_processes(run.name) == []
    assert not (anywhere.place / "latest").exists()


def test_a_changed_input_is_told_and_a_copy_may_be_changed(
    anywhere: TargetProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.step.reflink", lambda *_: False)
    script, _, message, hint, _ = FAILURES["changes-its-input"]
    anywhere.media()
    anywhere.component("a", script)
    anywhere.write("a")
    outcome = anywhere.fail(5)
    assert outcome.errors[0] == f"error: step a: {message}"
    assert hint in outcome.errors[-1]
    anywhere.write("a", options={"a": {"copy_input": True}})
    folder = anywhere.succeed().folder
    assert contents(folder / "a") == {"a": b"media"}
    assert contents(folder / "save-media") == {"clip.mp4": b"media"}


def test_a_component_that_fails_at_times(anywhere: TargetProject) -> None:
    anywhere.media()
    anywhere.component("a", 'case $AUTOPIPE_MARK in *-3) cp "$in" "$out";; *) exit 9;; esac')
    anywhere.write("a", options={"a": {"retries": 2}})
    outcome = anywhere.succeed()
    assert steps_of(outcome.folder)["a"]["invocations"][0]["attempts"] == 3
    assert "a: a took 3 attempts" in outcome.err


def test_no_output_where_that_is_normal(anywhere: TargetProject) -> None:
    anywhere.media()
    anywhere.component("a", ":")
    anywhere.component("b")
    anywhere.write("ab", [["a", "b", 0.5]])
    steps = steps_of(anywhere.succeed().folder)
    assert [(steps[name]["state"], steps[name]["ran"]) for name in "ab"] == [("skipped", 1), ("skipped", 0)]
    assert anywhere.succeed().ran == {}


def test_what_a_component_leaves_running_is_ended(anywhere: TargetProject) -> None:
    anywhere.media()
    left = 'mkfifo fifo; setsid sh -c \'echo > fifo; exec sleep 1000\' & read -r _ < fifo; cp "$in" "$out"'
    anywhere.component("a", left)
    anywhere.write("a")
    assert marked_processes(anywhere.succeed().folder.name) == []


# --- Signals ---

WAITS = (
    'case $in in *a_3*) echo waits; while [ ! -e "$HOME/../../../gate" ]; do sleep 0.05; done;; esac; cp "$in" "$out"'
)


def read_until(process: "subprocess.Popen[bytes]", text: str) -> str:
    """Read what the program tells until a line ends with text; return all of it."""
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line.decode()
        if told.endswith(f"{text}\n"):
            return told
    raise AssertionError(f"never told: {text}: {told}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_leaves_nothing_and_goes_on(anywhere: TargetProject, number: signal.Signals) -> None:
    for name in ("1", "2", "3"):
        anywhere.media(name, f"{name}.txt")
    anywhere.component("a")
    anywhere.component("b", WAITS)
    anywhere.write("ab", [["a", "b"]], options={"b": {"cpu": 1}})
    with anywhere.start("-v") as process:
        told = read_until(process, "waits")
        process.send_signal(number)
        _, rest = process.communicate()
    assert process.returncode == 128 + number, told + rest.decode()
    (run,) = anywhere.runs()
    assert read_record(run)["state"] == "interrupted"
    assert marked_processes(run.name) == []
    with anywhere.start("-v") as process:
        read_until(process, "waits")
        (folder,) = set(anywhere.runs()) - {run}
        (folder / "gate").touch()
        _, rest = process.communicate()
    assert process.returncode == 0, rest.decode()
    assert read_record(folder)["state"] == "done"
    steps = steps_of(folder)
    assert [(steps[name]["ran"], steps[name]["reused"]) for name in "ab"] == [(0, 3), (1, 2)]
    assert contents(folder / "b") == {f"b_{n}": n.encode() for n in "123"}
