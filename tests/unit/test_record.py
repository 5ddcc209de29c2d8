"""run.json and report.html as texts."""

import json

import pytest

from src.record import record_text
from src.report import make_report


@pytest.mark.parametrize("steps", [[], [{"step": "a", "state": "done"}, {"step": "b", "state": "skipped"}]])
def test_a_record_is_json_with_a_line_a_step(steps: list[dict[str, str]]) -> None:
    document = {"run": "r", "file": 'dag "x".yaml', "commit": None, "steps": steps}
    text = record_text(document)
    assert json.loads(text) == document
    assert sum('"step": ' in line for line in text.splitlines()) == len(steps)


@pytest.mark.parametrize(
    ("name", "element"), [("a.JPG", "<img"), ("a.mp4", "<video"), ("a.wav", "<audio"), ("a.tar.gz", None), ("a", None)]
)
def test_a_report_shows_what_browsers_can_show(name: str, element: str | None) -> None:
    step = {
        "step": "s",
        "state": "done",
        "ran": 1,
        "reused": 0,
        "seconds": 1.0,
        "invocations": [{"outputs": [{"name": name}]}],
    }
    record = {"dag": "d", "run": "r", "state": "done", "started": "now", "target": "process"}
    page = make_report(record, [step])
    shown = [one for one in ("<img", "<video", "<audio") if one in page]
    assert shown == ([element] if element else [])
    assert f"href='s/{name}'" in page
