"""What an earlier client left on the cluster, which may have died at any moment."""

import time
from pathlib import Path

from src.kube.answers import NotFoundError
from src.kube.api import Api
from src.kube.claim import has_claim
from src.kube.cluster import Cluster
from src.kube.ending import end_run, leave
from src.kube.errand import Errand
from src.kube.patience import Stop, StoppedError
from src.kube.runs import RunState
from src.kube.state import LEAVING, RUNNING, SUBMITTING, ClusterRun, read_state

SETTLE = 15.0
"""Seconds in which a submission may still come to light whose client died."""


def look_back(errand: Errand, api: Api, cluster: Cluster, stop: Stop) -> ClusterRun | None:
    """Return what an earlier client left, where there is a claim to go on from; what is of no use is given back."""
    earlier = read_state(errand.path)
    if earlier is None:
        return None
    if earlier.phase != LEAVING and errand.run.store.reuse and has_claim(cluster, earlier.claim):
        return earlier
    give_back(errand.path, earlier, api, cluster, stop)
    return None


def give_back(path: Path, state: ClusterRun, api: Api, cluster: Cluster, stop: Stop) -> None:
    """End the run of a record and delete all that it has on the cluster."""
    found = find_run(state, api, cluster.namespace, stop)
    if found and not found.is_final:
        end_run(api, found.id, stop)
    leave(path, state, cluster)


def find_run(state: ClusterRun, api: Api, namespace: str, stop: Stop) -> RunState | None:
    """Return the run of a record, None when the server has none; one that was just sent is waited for."""
    if state.phase not in (SUBMITTING, RUNNING, LEAVING):
        return None
    if state.id:
        try:
            return api.get_run(state.id)
        except NotFoundError:
            return None
    while True:
        found = api.find_runs(state.name, namespace)
        if found or time.time() - state.began > SETTLE:
            return found[0] if found else None
        if stop.wait(1.0):
            raise StoppedError("stopped while looking for the run")
