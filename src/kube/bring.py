"""Brings a run home: its outputs, journals and logs, laid into a local folder as a run on this machine leaves them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src import step as launcher
from src.errors import OutputError
from src.kube.arriving import Wanted
from src.kube.download import download
from src.kube.helper import Helper
from src.kube.tidings import LOGS, Growth, read_journals, whole_records
from src.record import write_text
from src.step import Record
from src.store import link_file


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where a run goes. folder: the run's, with its prepared private folders. scratch: see download.

    known: files that are here already, by sha256: what has the same content is linked, not fetched.
    """

    folder: Path
    scratch: Path
    known: Mapping[str, Path]


def bring_home(
    helper: Helper,
    home: Home,
    document: Record,
    tasks: Iterable[str],
    *,
    strict: bool,
    notify: Callable[[int], None] = lambda _: None,
) -> None:
    """Bring what the last attempt of tasks has made, complete or not; the journals here then tell of it as local ones.

    May be called again as tasks end; what is here is not fetched again. strict: a file that is missing on the
    volume, or was changed there, is an error; else what it belongs to counts as not done. notify: called with
    numbers of bytes. Raises OutputError also when a file has another sum than its step wrote down, or does not fit
    on this disk; RefusedError, CutError, StoppedError.
    """
    journals = read_journals(helper, list(tasks))
    steps = sorted({document["tasks"][task]["step"] for task in journals})
    there = {one["path"]: one for one in helper.call("list", paths=[LOGS, *steps])}
    kept = {task: _last(task, records, there, strict=strict) for task, records in journals.items()}
    try:
        _place(helper, home, kept, notify)
        for path, at, data in Growth(helper, _offsets(home.folder, there)).read(f"{LOGS}/"):
            with (home.folder / path).open("r+b" if (home.folder / path).exists() else "w+b") as file:
                file.seek(at)
                file.write(data)
        for task, records in kept.items():
            _write_journal(home.folder, task, records)
    except OSError as error:
        raise OutputError(
            f"cannot write the outputs here: {error.strerror}: {error.filename or home.folder}",
            hint="free some space, then give the same command again: the outputs are kept on the volume",
        ) from error


def _last(task: str, records: list[Record], there: Mapping[str, Record], *, strict: bool) -> list[Record]:
    """Return the records of the last attempt, its start first."""
    start = [record for record in records if record["event"] == "start"][-1:]
    last = launcher.last_attempt(records)
    whole = list(whole_records(task, last, there))
    if strict and len(whole) < len(last):
        lost = next(record for record in last if record not in whole)
        raise OutputError(
            f"outputs of {task} are missing on the volume, or were changed there: {lost['name']}",
            hint="give the same command again: what is missing is made anew",
        )
    return [*start, *whole]


def _outputs(kept: Mapping[str, Sequence[Record]]) -> Iterator[tuple[str, Record]]:
    for task, records in kept.items():
        for record in records:
            for entry in record.get("outputs", ()):
                yield f"{task.partition('@')[0]}/{entry['name']}", entry


def _place(helper: Helper, home: Home, kept: Mapping[str, Sequence[Record]], notify: Callable[[int], None]) -> None:
    """Lay each file into the run's folder: it is there, or linked to one that is here, or fetched, once a content."""
    here = _local_entries(home.folder, kept)
    wanted: dict[str, Wanted] = {}
    later: list[tuple[Path, str]] = []
    for path, entry in dict(_outputs(kept)).items():
        target, sha256 = home.folder / path, entry["sha256"]
        if path in here and here[path]["sha256"] == sha256 and launcher.is_intact(target, here[path]):
            continue
        known = home.known.get(sha256)
        if sha256 in wanted:
            later.append((target, sha256))
        elif known and known.is_file() and known.stat().st_size == entry["size"]:
            _link(known, target)
            notify(entry["size"])
        else:
            wanted[sha256] = Wanted(path=path, target=target, size=entry["size"], sha256=sha256)
    download(helper, list(wanted.values()), home.scratch, notify)
    for target, sha256 in later:
        _link(wanted[sha256].target, target)


def _local_entries(folder: Path, tasks: Iterable[str]) -> dict[str, Record]:
    """Return what the journals here say of files that earlier calls have brought."""
    found = {task: launcher.read_journal(launcher.journal_path(folder, task)) for task in tasks}
    return dict(_outputs(found))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    link_file(source, target)


def _write_journal(folder: Path, task: str, records: Sequence[Record]) -> None:
    """Write a journal whose outputs are known by what they are on this disk."""
    place = folder / task.partition("@")[0]
    lines = []
    for record in records:
        if "outputs" in record:
            sums = [(entry["name"], (entry["sha256"], entry["content"])) for entry in record["outputs"]]
            record = {**record, "outputs": [launcher.file_entry(place / name, both) for name, both in sums]}
        lines.append(json.dumps(record, separators=(",", ":")))
    write_text(launcher.journal_path(folder, task), "".join(f"{line}\n" for line in lines))


def _offsets(folder: Path, there: Mapping[str, Record]) -> dict[str, int]:
    """Return how much of each log is here; one that is longer here is of another run, and comes anew."""
    found = {}
    for path, entry in there.items():
        here = folder / path
        if path.startswith(f"{LOGS}/") and here.exists() and here.stat().st_size <= entry["size"]:
            found[path] = here.stat().st_size
    return found
