"""The client of Kubeflow Pipelines' REST interface, for what a run needs of it; every call may be repeated safely."""

import copy
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

from src.errors import RunError
from src.kube.answers import ExistsError, NotFoundError, RefusedError
from src.kube.patience import Patience, Stop
from src.kube.runs import Experiment, Health, RunState, name_filter, read_experiment, read_run
from src.kube.server import Server
from src.kube.session import Session
from src.kube.submission import Submission
from src.kube.transport import Transport

log = logging.getLogger("autopipe")

PATIENCE = 300.0
"""Seconds of an outage in the middle of a run: a server that restarts, a laptop that changes its network."""
LAST_PATIENCE = 30.0
"""Seconds for what is done after a stop."""
LONGEST_NAME = 255
OVER = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED", "CANCELING"})


class Api:
    """A connection to a server; a context manager.

    stop: seen while waiting between tries. patience: seconds of an outage that are waited for, once the server has
    answered; before that, what looks like a wrong address is told at once. All methods raise RunError.
    """

    def __init__(
        self,
        server: Server,
        *,
        stop: Stop | None = None,
        patience: float = PATIENCE,
        transport: Transport | None = None,
    ) -> None:
        self._transport = transport or Transport(authority=server.authority, checked=server.checked)
        self._session = Session(server, self._transport)
        self._patience = Patience(patience, stop)
        self._health: Health | None = None
        if not server.checked:
            log.warning("the certificate of %s is not checked (KFP_SKIP_TLS_VERIFY)", server.host)

    def __enter__(self) -> "Api":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.__exit__(kind, error, trace)

    def for_cleanup(self, seconds: float = LAST_PATIENCE) -> "Api":
        """Return the same connection for what is done after a stop: it is not stopped again, and gives up sooner."""
        other = copy.copy(self)
        other._patience = self._patience.for_cleanup(seconds)
        return other

    def health(self) -> Health:
        """Return what server it is, asked once; logs in where that is needed."""
        if self._health is None:
            document = self._get("/healthz")
            self._health = Health(
                version=str(document.get("tag_name", "unknown")), multi_user=bool(document.get("multi_user"))
            )
        return self._health

    def experiment(self, name: str, namespace: str) -> Experiment:
        """Return the experiment of that name (at most 128 characters) in a namespace, made if it is not there.

        Raises NoRightsError when the namespace is not there or not ours.
        """
        scope = self._scope(namespace)
        return self._patience.repeat(lambda: self._experiment(name, scope))

    def find_runs(self, name: str, namespace: str) -> tuple[RunState, ...]:
        """Return the runs of that display name in a namespace, oldest first, at most 20."""
        query = {"filter": name_filter(name), "sort_by": "created_at asc", "page_size": "20"}
        document = self._get("/runs", {**self._scope(namespace), **query})
        return tuple(read_run(run) for run in document.get("runs") or ())

    def create_run(
        self,
        name: str,
        experiment: Experiment,
        *,
        pipeline_spec: Mapping[str, Any],
        platform_spec: Mapping[str, Any],
        service_account: str | None = None,
    ) -> RunState:
        """Start a run, or return the one of that name that is there; no answer that gets lost makes a second.

        name: unique to the run, at most 255 characters. The run takes its namespace from the experiment. Raises
        RefusedError or OutageError when the server does not want the pipeline.
        """
        if len(name) > LONGEST_NAME:  # the server would start it and then fail to record it
            raise ValueError(f"a run's name of {len(name)} characters")
        document = {
            "display_name": name,
            "experiment_id": experiment.id,
            "pipeline_spec": {"pipeline_spec": pipeline_spec, "platform_spec": platform_spec},
            "runtime_config": {"parameters": {}},
            **({"service_account": service_account} if service_account else {}),
        }
        tasks = len(pipeline_spec.get("root", {}).get("dag", {}).get("tasks", {}))
        submission = Submission(
            find=lambda: self.find_runs(name, experiment.namespace),
            send=lambda read: read_run(self._session.call("POST", "/runs", document=document, read=read, once=True)),
            end=self.terminate,
            patience=self._patience,
        )
        return submission.submit(tasks)

    def get_run(self, run_id: str) -> RunState:
        """Return a run; raises NotFoundError when it was deleted."""
        return read_run(self._get(f"/runs/{quote(run_id, safe='')}"))

    def terminate(self, run_id: str) -> None:
        """Ask for the end of a run, which becomes FAILED 6 to 20 s later; one that is over or gone is left alone."""
        path = f"/runs/{quote(run_id, safe='')}"
        try:
            self._patience.repeat(lambda: self._session.call("POST", f"{path}:terminate"))
        except NotFoundError:
            return
        except RefusedError:
            if self.get_run(run_id).state not in OVER:
                raise

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        return self._patience.repeat(lambda: self._session.call("GET", path, query=query))

    def _scope(self, namespace: str) -> dict[str, str]:
        return {"namespace": namespace} if self.health().multi_user else {}

    def _experiment(self, name: str, scope: Mapping[str, str]) -> Experiment:
        found = self._find_experiment(name, scope)
        if found:
            return found
        try:
            return read_experiment(self._session.call("POST", "/experiments", document={"display_name": name, **scope}))
        except ExistsError:  # made meanwhile, by another run or by a request whose answer was lost
            found = self._find_experiment(name, scope)
            if found is None:
                raise RunError(f"the experiment {name} is there and cannot be found") from None
            return found

    def _find_experiment(self, name: str, scope: Mapping[str, str]) -> Experiment | None:
        query = {**scope, "filter": name_filter(name)}
        document = self._session.call("GET", "/experiments", query=query)
        found = [read_experiment(one) for one in document.get("experiments") or ()]
        return found[0] if found else None
