"""Brings what a run has made into its folder here and into the store, so that it looks like a run of this machine."""

import json
import logging
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from src import step as launcher
from src.errors import AutopipeError, OutputError
from src.kube.bring import Home, bring_home
from src.kube.download import fetch_files
from src.kube.errand import Errand
from src.kube.helper import Helper
from src.kube.patience import StoppedError
from src.kube.state import ClusterRun
from src.record import PRIVATE, prepare_volume, write_text
from src.step import Record
from src.store import Store

log = logging.getLogger("autopipe")
PLAN = ".autopipe/plan.json"
ARRIVING = "arriving"  # below the store: large files on their way, which another process goes on with


class EarlyBird:
    """Brings outputs while the run goes on, so that little is left to bring at its end; a context manager.

    What goes wrong is left to the end, which asks for all that is not here.
    """

    def __init__(self, helper: Helper, errand: Errand) -> None:
        self._helper = helper
        self._errand = errand
        self._asked: set[str] = set()
        self._pool = ThreadPoolExecutor(1)
        self._work: Future[None] | None = None

    def __enter__(self) -> "EarlyBird":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)

    def look(self, ended: Collection[str]) -> None:
        """Begin to bring what the tasks that have ended made, unless that is under way."""
        new = set(ended) - self._asked
        if new and (self._work is None or self._work.done()):
            self._asked |= new
            self._work = self._pool.submit(self._bring, sorted(new))

    def _bring(self, tasks: list[str]) -> None:
        try:
            bring_home(self._helper, _home(self._errand), self._errand.document, tasks, strict=False)
        except (AutopipeError, OSError) as error:
            log.debug("what %s made is brought later: %s", ", ".join(tasks), error)


def bring_outputs(helper: Helper, errand: Errand, state: ClusterRun) -> None:
    """Bring all outputs of a run that went well; raises OutputError, after which they are still on the volume."""
    tasks = list(errand.document["tasks"])
    try:
        bring_home(helper, _home(errand), errand.document, tasks, strict=True)
    except (OutputError, StoppedError):
        raise
    except AutopipeError as error:
        raise OutputError(
            f"the run went well, but its outputs did not come here: {error.message}",
            details=error.details,
            hint=f"{error.hint}; the outputs are kept on the volume".lstrip("; "),
        ) from error
    _adopt(errand, state)
    for task in tasks:
        if _last_run(errand.run.folder, task) != errand.run.id:
            raise OutputError(
                f"the server says that {task} went well, but on the volume there is no sign that it ran",
                hint="was the volume, or the run, changed by hand? --fresh starts from nothing",
            )


def bring_results(helper: Helper, errand: Errand, state: ClusterRun, ends: Mapping[str, Record]) -> bool:
    """Bring what a run has made that failed; return whether all of it came. What did not is told.

    ends: the end record of each task that failed without one of its own.
    """
    try:
        bring_home(helper, _home(errand), errand.document, list(errand.document["tasks"]), strict=False)
        came = True
    except StoppedError:
        raise
    except AutopipeError as error:
        log.warning("not all that was done could be brought here: %s", error.message)
        came = False
    _adopt(errand, state)
    for task in errand.document["tasks"]:
        if task in ends:
            _append(errand.run.folder, task, ends[task], start=_last_run(errand.run.folder, task) != errand.run.id)
        elif _last_run(errand.run.folder, task) not in (None, errand.run.id):
            # On a kept volume: the journal ends with another run's attempt, which this run did not come to.
            _append(errand.run.folder, task, None, start=True)
    return came


def take_over(helper: Helper, errand: Errand) -> None:
    """Bring what a run of another plan, which is still on the volume, has made into the store; what cannot is told."""
    store = errand.run.store
    with store.temporary() as folder:
        (folder / PRIVATE).mkdir()
        prepare_volume(folder)
        try:
            files = helper.repeat(lambda door: fetch_files(door, [PLAN]))
            document = json.loads(files[PLAN])
            bring_home(helper, _home(errand, folder), document, list(document["tasks"]), strict=False)
        except StoppedError:
            raise
        except AutopipeError as error:
            log.warning("not all that the earlier run had done could be brought here: %s", error.message)
        _keep(store, folder)


def _home(errand: Errand, folder: Path | None = None) -> Home:
    scratch = errand.run.store.folder / ARRIVING
    return Home(folder=folder or errand.run.folder, scratch=scratch, known=errand.files_here)


def _adopt(errand: Errand, state: ClusterRun) -> None:
    """Take what has come into the store; what ran as the run that we went on with, ran as ours."""
    folder, run = errand.run.folder, errand.run
    if state.run != run.id:
        for path in (folder / PRIVATE / "steps").glob("*.jsonl"):
            records = launcher.read_journal(path)
            ours = [{**one, "run": run.id} if one.get("run") == state.run else one for one in records]
            write_text(path, "".join(json.dumps(record) + "\n" for record in ours))
    _keep(run.store, folder)


def _keep(store: Store, folder: Path) -> None:
    for path in sorted((folder / PRIVATE / "steps").glob("*.jsonl")):
        store.keep(folder, path.stem)


def _last_run(folder: Path, task: str) -> str | None:
    """Return which run the last attempt of a task belongs to."""
    starts = [one for one in launcher.read_journal(launcher.journal_path(folder, task)) if one["event"] == "start"]
    return str(starts[-1].get("run", "")) if starts else None


def _append(folder: Path, task: str, end: Record | None, *, start: bool) -> None:
    journal = launcher.Journal(launcher.journal_path(folder, task))
    journal.append([*([{"event": "start"}] if start else []), *([end] if end else [])])
    journal.close()
