"""Goes with a run on the cluster to its end, and brings home what it made."""

import logging

from src.errors import Detached, RunError
from src.kube.api import Api
from src.kube.cluster import Cluster
from src.kube.ending import end_run
from src.kube.errand import Errand
from src.kube.follow import Follower, GoneError, StuckError, TimeoutRunError
from src.kube.helper import Helper
from src.kube.home import EarlyBird, bring_outputs, bring_results
from src.kube.journals import Journals
from src.kube.look import PodLook
from src.kube.patience import Stop
from src.kube.runs import RunState
from src.kube.state import ClusterRun
from src.kube.tidings import Growth
from src.kube.verdict import Pod, explain_run, missing_ends, pods_of_tasks
from src.record import PRIVATE

log = logging.getLogger("autopipe")


class Company:
    """See go_with. over: the run has ended, and what it made is here."""

    def __init__(self, errand: Errand, api: Api, cluster: Cluster, stop: Stop) -> None:
        self._errand = errand
        self._api = api
        self._cluster = cluster
        self._stop = stop
        self.over = False

    def go_with(self, helper: Helper, state: ClusterRun, run_id: str) -> bool:
        """Follow a run to its end and bring home what it made; return whether it went well.

        Raises RunError when it came to no end of its own, or no step says why it failed; OutputError when its outputs
        did not come here; Detached at once where that was asked for; StoppedError.
        """
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
            self.over = bring_results(helper, errand, state, {})
            raise
        except GoneError:
            self.over = bring_results(helper, errand, state, {})
            raise
        if final.state == "SUCCEEDED":
            bring_outputs(helper, errand, state)
            self.over = True
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
        self.over = bring_results(helper, errand, state, {} if cancelled else ends)
        if cancelled:
            raise RunError(
                "the run was ended on the server, in its UI or by another client",
                hint="the same command goes on from here",
            )
        if not ends and not any(end["state"] == "failed" for end in journals.ends.values()):
            lines = look.driver_tails(pods)
            raise RunError(explain_run(final, lines), details=tuple(lines[-10:]), hint=f"see {errand.page(final.id)}")
