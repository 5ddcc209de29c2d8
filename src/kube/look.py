"""What a follower sees of a run beside the server: its pods, and why one of them will not go on."""

import logging
from collections.abc import Iterable, Mapping

from src.errors import RunError
from src.kube.claim import run_pods
from src.kube.cluster import Cluster
from src.kube.doubts import Doubts
from src.kube.follow import StuckError
from src.kube.refusal import ApiError
from src.kube.verdict import Pod, is_driver, pods_of_tasks, printable

LINES = 20
log = logging.getLogger("autopipe")


class PodLook:
    """Looks at the pods of one run. names: the pipeline's name of each task. Without the right to, it sees none."""

    def __init__(self, cluster: Cluster, run_id: str, names: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._run_id = run_id
        self._names = names
        self._doubts = Doubts(cluster)
        self._may = True

    def pods(self) -> list[Pod]:
        """Return the run's pods; none where the user may not list them."""
        if not self._may:
            return []
        try:
            return list(run_pods(self._cluster, self._run_id))
        except ApiError as error:
            if error.code != 403:
                raise
            log.warning("%s: a step that cannot start is not seen", error.message)
            self._may = False
            return []

    def tail(self, pod: Pod) -> list[str]:
        """Return the last lines that a step's pod printed; none where that cannot be seen any more."""
        return printable(self._cluster.log_of(pod["metadata"]["name"], LINES, container="main"))

    def driver_tails(self, pods: Iterable[Pod]) -> list[str]:
        """Return the last lines of the server's own pods that failed: they say why a step was not started."""
        failed = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Failed" and is_driver(pod)]
        return [line for pod in failed for line in self.tail(pod)]

    def stuck(self, pods: Iterable[Pod]) -> RunError | None:
        """Return why a pod will not go on, once there is no hope that it will."""
        pods = list(pods)
        found = self._doubts.judge(pods)
        if found is None:
            return None
        pod, stuck = found
        name = str(pod["metadata"]["name"])
        tasks = {one["metadata"]["name"]: task for task, one in pods_of_tasks(pods, self._names).items()}
        what = f"step {tasks[name]}" if name in tasks else f"pod {name}"
        return StuckError(f"{what} cannot start: {stuck.message}", hint=stuck.hint)
