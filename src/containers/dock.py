"""Runs tasks, each in a container of its own that is made, started, waited for and removed again."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from src import step as launcher
from src.containers.calls import LOOK, Calls, RefusedError, SilentError
from src.containers.ending import end_of_journal, end_of_refusal, end_of_state, engine_lost, interrupted
from src.containers.growing import GrowingJournal
from src.containers.leftovers import container_labels
from src.containers.request import container_request
from src.containers.traits import Traits
from src.containers.watch import Container, Notify, Watch
from src.errors import ConfigError
from src.names import safe_name
from src.plan import Plan
from src.record import PRIVATE, Run
from src.step import Cancel, Record

log = logging.getLogger("autopipe")

_UNSEEN = ("bind source path does not exist", "no such file or directory", "not shared", "mounts denied")
"""What engines say of a folder that they do not see."""


class Dock:
    """The containers of one run. images: the id of each step's image. environ: variables for all of them."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        document: Record,
        images: Mapping[str, str],
        environ: Mapping[str, Mapping[str, str]],
        traits: Traits,
        calls: Calls,
        cancel: Cancel,
        echo: Callable[[bytes], None] | None,
    ) -> None:
        self._run = run
        self._plan = plan
        self._document = document
        self._images = images
        self._environ = environ
        self._traits = traits
        self._calls = calls
        self._cancel = cancel
        self._options = {step.name: step.options for step in plan.steps}
        self._numbers = {task: number for number, task in enumerate(document["tasks"])}
        self._lock = threading.Lock()
        self._warned: set[str] = set()
        self._watch = Watch(calls, cancel, echo)
        self._broom = ThreadPoolExecutor(1, "broom")
        self.lost = ""
        """Why the run cannot go on: the engine is away. Empty while it is not."""

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Look after containers while the block runs; at its end those that have ended are removed."""
        with self._broom, self._watch.at_work():
            yield

    def execute(self, task: str, notify: Notify) -> Record:
        """Run a task; return its end record. Raises ConfigError where the engine does not see the run's folder."""
        kept, pending = self._divide(task)
        if not pending:  # the launcher's bookkeeping needs no container
            return launcher.run_task(self._run.folder, self._document, task, cancel=self._cancel, notify=notify)
        notify({"event": "start", "kept": len(kept), "pending": pending})
        journal = launcher.journal_path(self._run.folder, task)
        container = Container(self._name(task), GrowingJournal(journal), kept, notify)
        log_path = self._run.folder / PRIVATE / "logs" / f"{self._document['tasks'][task]['step']}.log"
        try:
            with self._watch.following(container, log_path), self._removed(container.name):
                end = self._run_container(container, task)
        except RefusedError as error:
            end = self._end_of_refusal(str(error))
        except SilentError as error:
            self.lost = f"the Docker engine went away: {error}"
            self._cancel.set()
            end = engine_lost(self.lost)
        return self._conclude(task, end, container.records)

    def _divide(self, task: str) -> tuple[set[str], int]:
        """Return the keys of what a task has done already, and how many invocations are left."""
        try:
            kept, pending = launcher.divide_invocations(self._run.folder, self._document, task)
        except launcher.StepError:  # the launcher, run here, says so itself
            return set(), 0
        return {record["key"] for record in kept}, len(pending)

    def _run_container(self, container: Container, task: str) -> Record:
        name, step = container.name, self._document["tasks"][task]["step"]
        request = container_request(
            image=self._images[step],
            volume=self._run.folder,
            task=task,
            options=self._options[step],
            traits=self._traits,
            environ=self._environ[step],
            labels=container_labels(run_id=self._run.id, dag=self._plan.dag.name, folder=self._run.folder, task=task),
        )
        self._warn(self._calls.create(name, request))
        if self._cancel.is_set():
            return interrupted()
        self._calls.start(name)
        while True:
            self._calls.wait(name)
            end = self._told_end(container)
            if end:
                return end
            state = self._calls.state(name)
            if state is None or not state.get("Running"):
                break
            self._cancel.wait(LOOK)  # the engine was restarted, and it runs on
        end = self._told_end(container)
        if self._cancel.is_set():
            return end or interrupted()
        return end or end_of_state(state, self._calls.tail(name), self._options[step].memory)

    def _told_end(self, container: Container) -> Record | None:
        container.tell()
        return end_of_journal(container.records, cancelled=self._cancel.is_set())

    def _end_of_refusal(self, text: str) -> Record:
        if any(sign in text.lower() for sign in _UNSEEN) and str(self._run.folder) in text:
            raise ConfigError(
                f"the Docker engine does not see the run's folder {self._run.folder}",
                details=(text,),
                hint="give a folder that it shares with this machine, such as one in your home: --output DIR",
            )
        return end_of_refusal(text)

    def _conclude(self, task: str, end: Record, records: Sequence[Record]) -> Record:
        """Let the journal say what the launcher could not, or did not know."""
        if end not in records:
            journal = launcher.Journal(launcher.journal_path(self._run.folder, task))
            done = [record for record in records if record["event"] == "invocation"]
            journal.append([launcher.start_record(self._run.id), *done, end], durable=True)
            journal.close()
        return end

    @contextlib.contextmanager
    def _removed(self, name: str) -> Iterator[None]:
        try:
            yield
        finally:
            # Aside, for what comes next need not wait for it. Should it fail, the end of the run tries again.
            self._broom.submit(self._calls.remove, name)

    def _name(self, task: str) -> str:
        return f"autopipe-{self._run.id}-{self._numbers[task]}-{safe_name(task)}"

    def _warn(self, warnings: Sequence[str]) -> None:
        with self._lock:
            new = [warning for warning in warnings if warning not in self._warned]
            self._warned.update(new)
        for warning in new:
            log.warning("the engine: %s", warning)
