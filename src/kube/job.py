"""One DAG's run on a cluster, from whatever an earlier client left there to outputs on this disk."""

import copy
import dataclasses
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from src.errors import AutopipeError, Detached, OutputError
from src.kube.api import Api
from src.kube.carry import carry
from src.kube.claim import create_claim, use_claim
from src.kube.cluster import Cluster
from src.kube.company import Company
from src.kube.earlier import find_run, give_back, look_back
from src.kube.ending import end_run, end_steps, keep, leave, remove_helpers
from src.kube.errand import Errand
from src.kube.helper import Helper, open_helper
from src.kube.home import take_over
from src.kube.labels import claim_name
from src.kube.patience import Stop, StoppedError
from src.kube.pipeline import Pipeline
from src.kube.prepare import prepare
from src.kube.runs import Experiment, RunState
from src.kube.state import PREPARING, RUNNING, SUBMITTING, ClusterRun, read_state, write_state

log = logging.getLogger("autopipe")
LARGE = 64 << 20
"""Bytes of media for whose sake a volume is kept on which nothing was run."""
LAST_SECONDS = 20.0
"""For a run to end after Ctrl-C."""


class Job:
    """Takes a run through its phases, each written down before it begins."""

    def __init__(self, errand: Errand, api: Api, cluster: Cluster, stop: Stop) -> None:
        self._errand = errand
        self._api = api
        self._cluster = cluster
        self._stop = stop
        self._used = False  # something has run on the claim
        self._company = Company(errand, api, cluster, stop)

    def go(self) -> None:
        """Run the DAG, or take part in the run of it that is there, until what it made is here.

        Raises RunError when it came to no end, OutputError when its outputs did not come here, Detached,
        StoppedError. A failed step is no exception: its journal says it.
        """
        try:
            done = self._go()
        except Detached:
            raise
        except StoppedError:
            self._give_up()
            raise
        except AutopipeError:
            self._leave_behind()
            raise
        except OSError as error:
            self._leave_behind()
            raise OutputError(
                f"this disk refuses what the run has to tell: {error.strerror}: {error.filename or self._errand.path}",
                hint="free some space, then give the same command again: it goes on from here",
            ) from error
        state = read_state(self._errand.path)
        if state and done and not self._errand.settings.keep_volume:
            leave(self._errand.path, state, self._cluster)
        else:
            self._leave_behind()

    def tidy(self) -> None:
        """End and delete what an earlier client left, for nothing of it is needed; what cannot be is told."""
        state = read_state(self._errand.path)
        if state is None or self._errand.settings.keep_volume:
            return
        give_back(self._errand.path, state, self._api, self._cluster, self._stop)

    def _find(self, state: ClusterRun) -> RunState | None:
        return find_run(state, self._api, self._cluster.namespace, self._stop)

    def _go(self) -> bool:
        self._errand.load(self._cluster)
        earlier = look_back(self._errand, self._api, self._cluster, self._stop)
        found = self._find(earlier) if earlier else None
        same = earlier is not None and earlier.plan == self._errand.sum
        self._used = earlier is not None
        if earlier and found and same and (found.state == "SUCCEEDED" or not found.is_final):
            log.info("going on with run %s, which has the same plan", found.id)
            remove_helpers(self._cluster, earlier.claim)
            state = write_state(self._errand.path, dataclasses.replace(earlier, phase=RUNNING, id=found.id))
            with self._open_helper(state) as helper:
                return self._company.go_with(helper, state, found.id)
        if found and not found.is_final:
            log.info("run %s has another plan: ending it", found.id)
            end_run(self._api, found.id, self._stop)
        return self._begin(earlier, found, same=same)

    # --- A new run ---

    def _begin(self, earlier: ClusterRun | None, found: RunState | None, *, same: bool) -> bool:
        errand, run = self._errand, self._errand.run
        if earlier and same and found is None and earlier.phase == SUBMITTING:
            state = earlier  # should its submission come to light after all, it is this run's
        else:
            state = ClusterRun(
                claim=earlier.claim if earlier else claim_name(errand.origin(run.id)),
                run=run.id,
                name=f"{errand.plan.dag.name} {run.id}",
                plan=errand.sum,
                phase=PREPARING,
            )
        state = write_state(errand.path, state)
        with ThreadPoolExecutor(1) as pool:
            # The SDK's import and the login take about as long as the helper pod's start.
            compiled = pool.submit(errand.pipeline, state)
            experiment = pool.submit(self._api.experiment, errand.plan.dag.name[:128], self._cluster.namespace)
            if earlier:
                log.info("going on from the kept volume, claim %s", state.claim)
                remove_helpers(self._cluster, state.claim)
                end_steps(self._cluster, state.claim)
                use_claim(self._cluster, state.claim, errand.origin(run.id))
            else:
                create_claim(self._cluster, errand.claim_spec(state))
            with self._open_helper(state) as helper:
                if earlier and found and not same:
                    take_over(helper, errand)
                where, pipeline = experiment.result(), compiled.result()  # before the media's long way
                prepare(helper, errand.document_of(state), errand.media)
                carry(helper, errand.run.store, errand.document)
                helper.settle()
                self._used = self._used or errand.media_size > LARGE
                state = self._submit(state, pipeline, where)
                return self._company.go_with(helper, state, state.id or "")

    def _submit(self, state: ClusterRun, pipeline: Pipeline, experiment: Experiment) -> ClusterRun:
        errand = self._errand
        state = write_state(errand.path, dataclasses.replace(state, phase=SUBMITTING, began=time.time()))
        self._used = True
        made = self._api.create_run(
            state.name, experiment, pipeline_spec=pipeline.spec, platform_spec=pipeline.platform
        )
        state = write_state(errand.path, dataclasses.replace(state, phase=RUNNING, id=made.id))
        log.info("submitted as run %s: %s", made.id, errand.page(made.id))
        return state

    def _open_helper(self, state: ClusterRun) -> AbstractContextManager[Helper]:
        def named(name: str) -> None:
            current = read_state(self._errand.path) or state
            write_state(self._errand.path, dataclasses.replace(current, helper=name))

        return open_helper(self._cluster, self._errand.helper_spec(state), named)

    # --- When it did not come to an end ---

    def _give_up(self) -> None:
        """End the run, as Ctrl-C asks for. Never raises AutopipeError: it is called on the way of another."""
        cluster = copy.copy(self._cluster)
        cluster.stop = threading.Event()  # what is done now is not to be stopped
        self._cluster, self._api, self._stop = cluster, self._api.for_cleanup(), cluster.stop
        try:
            state = read_state(self._errand.path)
            found = self._find(state) if state else None
            if found and not found.is_final:
                ended = end_run(self._api, found.id, self._stop, seconds=LAST_SECONDS)
                self._company.over = ended is None or ended.is_final
            elif state and state.phase == PREPARING:
                self._company.over = True
        except AutopipeError as error:
            log.warning("the run may go on on the cluster: %s", error.message)
        self._leave_behind()

    def _leave_behind(self) -> None:
        """Keep the claim where there is something on it, and say so; what goes wrong is told."""
        try:
            state = read_state(self._errand.path)
            if state is None:
                return
            if self._used:
                keep(self._errand.path, state, self._errand.origin(state.run), self._cluster, over=self._company.over)
            else:
                leave(self._errand.path, state, self._cluster)
        except (AutopipeError, OSError) as error:
            log.warning("what is on the cluster is left as it is: %s", error)
