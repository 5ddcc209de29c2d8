"""A run's report.html: what each step made, to look at in a browser; refers to the files beside it."""

import html
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

SHOWN = 24  # files of a step; the others are in its folder

_KINDS = {
    "image": "avif bmp gif ico jfif jpeg jpg png svg webp",
    "video": "m4v mov mp4 ogv webm",
    "audio": "aac flac m4a mp3 oga ogg opus wav",
}
"""What browsers show, by the ends of names."""

_KIND = {end: kind for kind, ends in _KINDS.items() for end in ends.split()}

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin:2rem 0 .3rem}p{margin:.2rem 0;color:#57606a}
.failed{color:#b42318}.skipped,.not{color:#8a6d00}.done{color:#1a7f37}pre{background:#f3f4f6;padding:.7rem;overflow:auto}
figure{display:inline-block;margin:.4rem .6rem .4rem 0;vertical-align:top;max-width:16rem}
figcaption{font-size:.8rem;overflow-wrap:anywhere}img,video{max-width:16rem;max-height:10rem;border-radius:4px}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}p{color:#9da7b1}pre{background:#161b22}}
"""


def make_report(record: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> str:
    """Return the page for a run's record and the records of its steps, as run.json has them."""
    title = html.escape(f"{record['dag']} {record['run']}")
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{title}</title><style>{_STYLE}</style><h1>{html.escape(record['dag'])}</h1>",
        (
            f"<p>Run {html.escape(record['run'])}, {_state(record['state'])}, {html.escape(record['started'])}, "
            f"on target {html.escape(record['target'])}. <a href=run.json>run.json</a></p>"
        ),
    ]
    for step in steps:
        parts += _section(step)
    return "\n".join(parts) + "\n"


def _section(step: Mapping[str, Any]) -> list[str]:
    files = [entry["name"] for one in step["invocations"] for entry in one["outputs"]]
    parts = [
        f"<h2>{html.escape(step['step'])}</h2>",
        (
            f"<p>{_state(step['state'])}, {len(files)} files; {step['ran']} ran in {step['seconds']:.1f} s, "
            f"{step['reused']} were done before.</p>"
        ),
    ]
    if step.get("message"):
        lines = [step["message"], *step.get("tail", ()), *([f"hint: {step['hint']}"] if step.get("hint") else [])]
        parts.append(f"<pre class=failed>{html.escape(chr(10).join(lines))}</pre>")
    parts += [_figure(f"{step['step']}/{name}", name) for name in files[:SHOWN]]
    if len(files) > SHOWN:
        parts.append(f"<p>and {len(files) - SHOWN} more in <a href='{quote(step['step'])}/'>the folder</a></p>")
    return parts


def _figure(path: str, name: str) -> str:
    link, kind = quote(path), _KIND.get(name.rpartition(".")[2].lower(), "")
    shown = {
        "image": f"<img loading=lazy alt='' src='{link}'><br>",
        "video": f"<video controls preload=metadata src='{link}'></video><br>",
        "audio": f"<audio controls preload=none src='{link}'></audio><br>",
    }.get(kind, "")
    return f"<figure>{shown}<figcaption><a href='{link}'>{html.escape(name)}</a></figcaption></figure>"


def _state(state: str) -> str:
    return f"<b class='{html.escape(state)}'>{html.escape(state)}</b>"
