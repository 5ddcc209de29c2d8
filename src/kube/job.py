"""One DAG's run on a cluster, from whatever an earlier client left there to outputs on this disk."""

import copy
import dataclasses
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from src.errors import AutopipeError, Detached, OutputError, RunError
from src.kube.answers import NotFoundError
from src.kube.api import Api
from src.kube.claim import create_claim, has_claim, use_claim
from src.kube.cluster import Cluster
from src.kube.ending import end_run, keep, leave, remove_helpers
from src.kube.errand import Errand
from src.kube.follow import Follower, GoneError, StuckError, TimeoutRunError
from src.kube.helper import Helper, open_helper
from src.kube.home import EarlyBird, bring_outputs, bring_results, take_over
from src.kube.journals import Journals
from src.kube.labels import claim_name
from src.kube.look import PodLook
from src.kube.patience import Stop, StoppedError
from src.kube.pipeline import Pipeline
from src.kube.prepare import prepare
from src.kube.runs import Experiment, RunState
from src.kube.state import LEAVING, PREPARING, RUNNING, SUBMITTING, ClusterRun, read_state, write_state
from src.kube.tidings import Growth
from src.kube.verdict import Pod, explain_run, missing_ends, pods_of_tasks
from src.record import PRIVATE

log = logging.getLogger("autopipe")
SETTLE = 15.0
"""Seconds in which a submission may still come to light whose client died."""
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
        self._over = False  # the run has ended, and what it made is here

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
        found = self._find_run(state)
        if found and not found.is_final:
            end_run(self._api, found.id, self._stop)
        leave(self._errand.path, state, self._cluster)

    # --- What an earlier client left ---

    def _go(self) -> bool:
        self._errand.load(self._cluster)
        earlier = self._look_back()
        found = self._find_run(earlier) if earlier else None
        same = earlier is not None and earlier.plan == self._errand.sum
        self._used = earlier is not None
        if earlier and found and same and (found.state == "SUCCEEDED" or not found.is_final):
            log.info("going on with run %s, which has the same plan", found.id)
            remove_helpers(self._cluster, earlier.claim)
            state = write_state(self._errand.path, dataclasses.replace(earlier, phase=RUNNING, id=found.id))
            with self._open_helper(state) as helper:
                return self._accompany(helper, state, found.id)
        if found and not found.is_final:
            log.info("run %s has another plan: ending it", found.id)
            end_run(self._api, found.id, self._stop)
        return self._begin(earlier, found, same=same)

    def _look_back(self) -> ClusterRun | None:
        """Return what an earlier client left, where there is a claim to go on from; see to the rest."""
        earlier = read_state(self._errand.path)
        if earlier is None:
            return None
        if earlier.phase != LEAVING and self._errand.run.store.reuse and has_claim(self._cluster, earlier.claim):
            return earlier
        found = self._find_run(earlier)
        if found and not found.is_final:
            end_run(self._api, found.id, self._stop)
        leave(self._errand.path, earlier, self._cluster)
        return None

    def _find_run(self, state: ClusterRun) -> RunState | None:
        """Return the run of a record, None when the server has none."""
        if state.phase not in (SUBMITTING, RUNNING, LEAVING):
            return None
        if state.id:
            try:
                return self._api.get_run(state.id)
            except NotFoundError:
                return None
        while True:
            found = self._api.find_runs(state.name, self._cluster.namespace)
            if found or time.time() - state.began > SETTLE:
                return found[0] if found else None
            if self._stop.wait(1.0):
                raise StoppedError("stopped while looking for the run")

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
                use_claim(self._cluster, state.claim, errand.origin(run.id))
            else:
                create_claim(self._cluster, errand.claim_spec(state))
            with self._open_helper(state) as helper:
                if earlier and found and not same:
                    take_over(helper, errand)
                where, pipeline = experiment.result(), compiled.result()  # before the media's long way
                prepare(helper, errand.document_of(state), errand.media)
                helper.settle()
                self._used = self._used or errand.media_size > LARGE
                state = self._submit(state, pipeline, where)
                return self._accompany(helper, state, state.id or "")

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

    # --- To its end ---

    def _accompany(self, helper: Helper, state: ClusterRun, run_id: str) -> bool:
        """Follow a run to its end and bring home what it made; return whether it went well."""
        errand = self._errand
        if errand.settings.detach:
            raise Detached(
                f"run {run_id} goes on on the cluster: {errand.page(run_id)}",
                hint="the same command without --detach waits for it and brings its outputs here",
            )
        errand.progress.begin(len(errand.document["tasks"]))
        try:
            with EarlyBird(helper, errand) as bird:
                follower = self._make_follower(helper, state, run_id, bird)
                final, pods = follower.follow(run_id)
        except (StuckError, TimeoutRunError) as error:
            log.info("%s", error.message)
            end_run(self._api, run_id, self._stop)
            self._over = bring_results(helper, errand, state, {})
            raise
        except GoneError:
            self._over = bring_results(helper, errand, state, {})
            raise
        if final.state == "SUCCEEDED":
            bring_outputs(helper, errand, state)
            self._over = True
            return True
        self._judge(helper, state, final, pods, follower)
        return False

    def _make_follower(self, helper: Helper, state: ClusterRun, run_id: str, bird: EarlyBird) -> Follower:
        errand = self._errand
        return Follower(
            api=self._api,
            look=PodLook(self._cluster, run_id, errand.names),
            tail=Growth(helper, {}).read,
            journals=Journals(errand.document_of(state), errand.progress),
            logs=errand.run.folder / PRIVATE / "logs",
            stop=self._stop,
            timeout=errand.settings.run_timeout,
            began=state.began,
            echo=errand.progress.echo,
            ended=bird.look,
        )

    def _judge(self, helper: Helper, state: ClusterRun, final: RunState, pods: list[Pod], follower: Follower) -> None:
        """Bring home what a failed run made, and say of each task why it failed; raises RunError where none says."""
        errand, journals = self._errand, follower.journals
        tasks = errand.document["tasks"]
        begun = [task for task in tasks if journals.has_begun(task)]
        cancelled = final.state == "CANCELED" or follower.cancelled
        found, look = pods_of_tasks(pods, errand.names), PodLook(self._cluster, final.id, errand.names)
        ends = missing_ends(tasks, errand.names, final, journals.ends, begun, found)
        for task in ends.keys() & found.keys():
            ends[task]["tail"] = look.tail(found[task])
        self._over = bring_results(helper, errand, state, {} if cancelled else ends)
        if cancelled:
            raise RunError(
                "the run was ended on the server, in its UI or by another client",
                hint="the same command goes on from here",
            )
        if not ends and not any(end["state"] == "failed" for end in journals.ends.values()):
            lines = look.driver_tails(pods)
            raise RunError(explain_run(final, lines), details=tuple(lines[-10:]), hint=f"see {errand.page(final.id)}")

    # --- When it did not come to an end ---

    def _give_up(self) -> None:
        """End the run, as Ctrl-C asks for. Never raises AutopipeError: it is called on the way of another."""
        cluster = copy.copy(self._cluster)
        cluster.stop = threading.Event()  # what is done now is not to be stopped
        self._cluster, self._api, self._stop = cluster, self._api.for_cleanup(), cluster.stop
        try:
            state = read_state(self._errand.path)
            found = self._find_run(state) if state else None
            if found and not found.is_final:
                ended = end_run(self._api, found.id, self._stop, seconds=LAST_SECONDS)
                self._over = ended is None or ended.is_final
            elif state and state.phase == PREPARING:
                self._over = True
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
                keep(self._errand.path, state, self._errand.origin(state.run), self._cluster, over=self._over)
            else:
                leave(self._errand.path, state, self._cluster)
        except (AutopipeError, OSError) as error:
            log.warning("what is on the cluster is left as it is: %s", error)
