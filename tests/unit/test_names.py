"""Safe names, and the names that components may have."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.names import explain_bad_name, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("ffmpeg-0", "ffmpeg-0"),
        ("C1", "c1"),
        ("mask-detector_partition1_1", "mask-detector-partition1-1"),
        ("a.b__c--d", "a-b-c-d"),
        ("a-", "a"),
        ("3d-pose", "x-3d-pose"),
        ("x" * 50, "x" * 50),
        ("x" * 51, "x" * 41 + "-3ecd502a"),
        ("a" * 40 + "-b" * 30, "a" * 40 + "-eba2b295"),
        ("日本", "x-cf2abf0c"),
    ],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(max_size=120) | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True))
@settings(database=None, deadline=None)
def test_safe_names_are_safe(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", safe)
    assert len(safe) <= 50
    assert safe_name(safe) == safe
    assert safe_name(name) == safe


def test_long_names_stay_apart() -> None:
    assert len({safe_name("x" * 60 + str(n)) for n in range(1000)}) == 1000


@pytest.mark.parametrize("name", ["a", "A_1.b-c", "9", "x" * 100, "save-media-2", "latest"])
def test_allowed_names(name: str) -> None:
    assert explain_bad_name(name) == ""


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("x" * 101, "is longer than 100 characters"),
        ("a..b", "contains '..'"),
        ("a\n", "may only have letters, digits, '.', '_', '-', and begins with a letter or digit"),
        ("_a", "may only have letters, digits, '.', '_', '-', and begins with a letter or digit"),
        ("SAVE.MEDIA", "is reserved for the tool itself"),
        ("run.json", "is reserved for the tool itself"),
    ],
)
def test_bad_names(name: str, wrong: str) -> None:
    assert explain_bad_name(name) == wrong
