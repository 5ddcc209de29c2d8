"""The names of outputs: by lineage, unique, plain, never by position."""

import re
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from src.step import LONGEST_NAME, Input, choose_invocations, invocation_key, invocation_names, plain

TABLE = {
    # step, parents, {file: name}; each file as parent/file
    "one file": ("detect", 1, {"split/split.mp4": "detect"}),
    "a split": ("detect", 1, {"split/split_0.mp4": "detect_0", "split/split_1.mp4": "detect_1"}),
    "frames": ("blur", 1, {"frames/frames-1.jpg": "blur_1", "frames/frames-2.jpg": "blur_2"}),
    "lineage": ("blur", 1, {"frames/frames_0-1.jpg": "blur_0-1", "frames/frames_1-1.jpg": "blur_1-1"}),
    "media": ("a", 1, {"save-media/clip.mp4": "a_clip", "save-media/two.mp4": "a_two"}),
    "two parents": ("c", 2, {"a/a_0.mp4": "c_a_0", "b/b_0.mp4": "c_b_0"}),
    "archives": ("c", 1, {"a/a_0.tar.gz": "c_0", "a/a_1.tar.bz2": "c_1", "a/a_2.tgz": "c_2"}),
    "dots": ("c", 1, {"a/a_v1.2.mp4": "c_v1_2", "a/a_v1.3.mp4": "c_v1_3"}),
    "no extension": ("c", 1, {"a/a": "c_a", "a/a_1": "c_1"}),
    "dots in the step's name": ("c.1", 1, {"a.b/a_b_0.x": "c_1_0", "a.b/a_b_1.x": "c_1_1"}),
    "only an extension": ("c", 1, {"m/.mp4": "c__mp4", "m/x.mp4": "c_x"}),
    "a name that only begins like the parent's": ("c", 1, {"a/apple.jpg": "c_pple", "a/a_1.jpg": "c_1"}),
}


@pytest.mark.parametrize("kind", TABLE)
def test_names_tell_the_lineage(kind: str) -> None:
    step, parents, expected = TABLE[kind]
    files = [(path.partition("/")[0], path.partition("/")[2]) for path in expected]
    assert invocation_names(step, files, parents=parents) == list(expected.values())


@pytest.mark.parametrize(
    "files",
    [
        [("a", "a_0.mp4"), ("a", "a_0.wav")],
        [("a", "a_X.mp4"), ("a", "a_x.mp4")],  # on some disks one name
        [("a", "a_ü.mp4"), ("a", "a_ö.mp4")],
        [("a", "a-0.mp4"), ("a", "a_0.mp4")],
    ],
)
def test_names_that_would_be_equal_are_told_apart(files: list[tuple[str, str]]) -> None:
    names = invocation_names("c", [*files, ("a", "a_9.mp4")], parents=1)
    assert len({name.lower() for name in names}) == 3
    assert names[2] == "c_9"
    assert all(re.fullmatch(r"c_\w*-[0-9a-f]{12}", name) for name in names[:2])


STEPS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True)
FILES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=120)


@hypothesis.given(
    step=STEPS,
    parents=st.lists(STEPS, min_size=1, max_size=3, unique=True),
    files=st.lists(st.tuples(st.integers(0, 2), FILES), min_size=2, max_size=12, unique=True),
)
@hypothesis.settings(deadline=None, derandomize=True, max_examples=200)
def test_names_are_plain_unique_and_do_not_depend_on_the_order(
    step: str, parents: list[str], files: list[tuple[int, str]]
) -> None:
    pairs = sorted({(parents[number % len(parents)], file) for number, file in files})
    hypothesis.assume(len(pairs) > 1)
    names = dict(zip(pairs, invocation_names(step, pairs, parents=len(parents)), strict=True))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) and len(name) <= LONGEST_NAME for name in names.values())
    assert all(name.startswith(plain(step)[:80]) for name in names.values())
    assert len({name.lower() for name in names.values()}) == len(pairs)
    shuffled = list(reversed(pairs))
    assert dict(zip(shuffled, invocation_names(step, shuffled, parents=len(parents)), strict=True)) == names
    # One file more changes no name but of those that would be equal to it.
    more = [*pairs, ("zz", "another-file-of-its-own-kind.x")]
    assert invocation_names(step, more, parents=len(parents))[:-1] == list(names.values())


# --- Invocations ---


def spec(step: str = "c", **more: object) -> dict[str, object]:
    return {"step": step, "join": False, "shard": [0, 1], "parents": ["a"], "key": "k", **more}


def inputs(*names: str, parent: str = "a") -> list[Input]:
    return [
        Input(parent, Path("/volume") / parent / name, {"name": name, "content": f"sum of {name}"}) for name in names
    ]


def test_there_is_an_invocation_for_each_input_in_the_order_of_names() -> None:
    found = choose_invocations(spec(), inputs("a_2", "a_1"))
    assert [(one.name, one.inputs[0].path.name) for one in found] == [("c_1", "a_1"), ("c_2", "a_2")]


def test_a_join_has_one_invocation_with_all_and_none_without_inputs() -> None:
    (found,) = choose_invocations(spec(join=True), inputs("a_2", "a_1"))
    assert (found.name, [item.path.name for item in found.inputs]) == ("c", ["a_1", "a_2"])
    assert choose_invocations(spec(join=True), []) == []


def test_media_keeps_its_name() -> None:
    found = choose_invocations(spec("save-media"), inputs("clip.v1.mp4", "b.mp4"))
    assert [one.name for one in found] == ["b.mp4", "clip.v1.mp4"]


def test_shards_divide_the_invocations_without_changing_one() -> None:
    files = inputs(*(f"a_{number}" for number in range(10)))
    whole = choose_invocations(spec(), files)
    parts = [choose_invocations(spec(shard=[shard, 4]), files) for shard in range(4)]
    assert sorted(one.name for part in parts for one in part) == sorted(one.name for one in whole)
    assert {one.key for part in parts for one in part} == {one.key for one in whole}
    assert [len(part) for part in parts] == [3, 3, 2, 2]


def test_a_key_is_of_names_and_contents_and_of_nothing_else() -> None:
    (one,) = inputs("a_1")
    key = invocation_key("base", "c_1", [one])
    assert invocation_key("base", "c_1", [one._replace(path=Path("/elsewhere/a_1"), parent="b")]) == key
    assert invocation_key("base", "c_1", [one._replace(entry={**one.entry, "mtime_ns": 5, "inode": 7})]) == key
    others = [
        invocation_key("other", "c_1", [one]),
        invocation_key("base", "c_2", [one]),
        invocation_key("base", "c_1", [one, one]),
        invocation_key("base", "c_1", [one._replace(path=Path("/volume/a/a_2"))]),
        invocation_key("base", "c_1", [one._replace(entry={**one.entry, "content": "other"})]),
    ]
    assert len({key, *others}) == 6
