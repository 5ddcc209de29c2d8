"""The crew of a local run: threads that take tasks as soon as what they need is complete."""

import contextlib
import functools
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from graphlib import TopologicalSorter

from src import step as launcher
from src.errors import Interrupted, RunError
from src.plan import Plan
from src.progress import Progress
from src.record import Run
from src.signals import on_ending_signals
from src.step import Cancel, Record

Notify = Callable[[Record], None]


class Crew:
    """Runs the tasks of one run on its folder.

    at_once: how many tasks, at most; as many as there are cores unless said.
    execute: runs a task, tells notify of its records, and returns its end record, as launcher.run_task does.
    """

    def __init__(
        self,
        run: Run,
        document: Record,
        execute: Callable[[str, Notify], Record],
        cancel: Cancel,
        progress: Progress,
        *,
        at_once: int | None = None,
    ) -> None:
        self._run = run
        self._document = document
        self._execute = execute
        self._cancel = cancel
        self._progress = progress
        self._at_once = at_once or launcher.cores()

    def work(self, plan: Plan) -> None:
        """Run all tasks; what only failed steps feed is not run. Raises RunError when the disk refuses."""
        steps = {step.name: step for step in plan.steps}
        sorter = TopologicalSorter({step.name: step.parents for step in plan.steps})
        sorter.prepare()
        self._progress.begin(sum(len(step.tasks) for step in plan.steps))
        ended: queue.SimpleQueue[tuple[str, Future[bool]]] = queue.SimpleQueue()
        left = {step.name: len(step.tasks) for step in plan.steps}
        broken: set[str] = set()
        running = 0
        with ThreadPoolExecutor(self._at_once) as pool:
            while True:
                for name in sorter.get_ready():
                    for task in steps[name].tasks:
                        future = pool.submit(self._run_task, task)
                        future.add_done_callback(functools.partial(_put, ended, name))
                        running += 1
                if not running:
                    break
                name, future = _next(ended)
                running -= 1
                left[name] -= 1
                if not self._result(future):
                    broken.add(name)
                if not left[name] and name not in broken:
                    sorter.done(name)

    def _result(self, future: "Future[bool]") -> bool:
        try:
            return future.result()
        except OSError as error:
            self._cancel.set()  # the disk of all steps is at fault, not one of them
            raise RunError(
                f"the run's folder {self._run.folder} cannot be written: {error.strerror}"
                + (f": {error.filename}" if error.filename else ""),
                hint="free some space, then give the same command again",
            ) from error
        except BaseException:
            self._cancel.set()
            raise

    def _run_task(self, task: str) -> bool:
        if self._cancel.is_set():
            return False
        folder, store = self._run.folder, self._run.store
        known = store.adopt(folder, self._document, task)
        if known is not None:
            self._progress.advance(task, {"event": "start", "kept": len(known), "pending": 0})
            self._progress.end(task, {"state": launcher.step_state(one["state"] for one in known)}, known, [])
            return True
        end = self._execute(task, lambda record: self._progress.advance(task, record))
        records = [
            record
            for record in launcher.last_attempt(launcher.read_journal(launcher.journal_path(folder, task)))
            if record["event"] == "invocation"
        ]
        kept = [record for record in records if record["run"] != self._run.id]  # they came from the store
        ran = [record for record in records if record["run"] == self._run.id]
        store.keep(folder, task, ran)
        self._progress.end(task, end, kept, ran)
        return bool(end["state"] != "failed")


def _next(ended: "queue.SimpleQueue[tuple[str, Future[bool]]]") -> "tuple[str, Future[bool]]":
    while True:
        # A signal that comes in the moment when a wait begins is handled only at its end.
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=launcher.TICK)


def _put(ended: "queue.SimpleQueue[tuple[str, Future[bool]]]", name: str, future: "Future[bool]") -> None:
    ended.put((name, future))


@contextlib.contextmanager
def cancelled_by_signals() -> Iterator[Cancel]:
    """Give a Cancel that Ctrl-C, SIGTERM and SIGHUP set; raises Interrupted at the end when one did."""
    cancel = Cancel()
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        cancel.set()

    try:
        with on_ending_signals(stop):
            yield cancel
    except RunError as error:
        if received:  # it came of being told to stop
            raise Interrupted(received[0]) from error
        raise
    if received:
        raise Interrupted(received[0])
