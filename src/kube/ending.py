"""How what a run has on a cluster ends: terminated, kept for the next run, or deleted."""

import dataclasses
import logging
import time
from pathlib import Path

from src.errors import AutopipeError, RunError
from src.kube.answers import NotFoundError
from src.kube.api import Api
from src.kube.claim import delete_claim, is_at_work, is_step, keep_claim, labels_of, pods_on, run_pods
from src.kube.cluster import Cluster
from src.kube.labels import CLAIM, KEPT_SECONDS, Origin
from src.kube.patience import Stop, StoppedError
from src.kube.refusal import ApiError
from src.kube.runs import RunState
from src.kube.state import KEPT, LEAVING, ClusterRun, forget_state, write_state

log = logging.getLogger("autopipe")
TERMINATION = 60.0
"""Seconds that a server may take to end a run: 6 to 20 as a rule."""
EVERY = 1.0  # seconds


def end_run(api: Api, run_id: str, stop: Stop, seconds: float = TERMINATION) -> RunState | None:
    """Ask the server to end a run, and wait until it has; None: it was deleted. Raises RunError, StoppedError."""
    log.info("ending run %s", run_id)
    api.terminate(run_id)
    start = time.monotonic()
    while True:
        try:
            state = api.get_run(run_id)
        except NotFoundError:
            return None
        if state.is_final or time.monotonic() - start > seconds:
            return state
        if stop.wait(EVERY):
            raise StoppedError("stopped while the run was ended")


def remove_pods(cluster: Cluster, run_id: str) -> None:
    """Delete the pods of a run that is over: they hold the claim. The run itself stays in the server's list."""
    try:
        pods = run_pods(cluster, run_id)
    except ApiError as error:
        if error.code != 403:
            raise
        log.warning("%s: its pods go when the server removes them", error.message)
        return
    for pod in pods:
        cluster.delete("pods", pod["metadata"]["name"])


def remove_helpers(cluster: Cluster, claim: str) -> None:
    """Delete the helper pods that a client left on a claim which died."""
    for pod in pods_on(cluster, claim):
        if CLAIM in labels_of(pod) and not is_step(pod):
            cluster.delete("pods", pod["metadata"]["name"], grace=1)


def end_steps(cluster: Cluster, claim: str) -> None:
    """Delete the pods of tasks that are still at work on a claim, and wait for their end: the next run's write there.

    Raises RunError when one does not end, ApiError, CutError, StoppedError.
    """
    start = time.monotonic()
    while at_work := [pod for pod in pods_on(cluster, claim) if is_step(pod) and is_at_work(pod)]:
        for pod in at_work:
            if not pod["metadata"].get("deletionTimestamp"):
                cluster.delete("pods", pod["metadata"]["name"])
        if time.monotonic() - start > TERMINATION:
            name = at_work[0]["metadata"]["name"]
            raise RunError(
                f"pod {name} of an earlier run is still at work on claim {claim}",
                hint=f"end it, then give the same command again: kubectl delete pod -n {cluster.namespace} {name}",
            )
        cluster.pause(EVERY)


def leave(path: Path, state: ClusterRun, cluster: Cluster) -> None:
    """Delete the pods and the claim, and wait until they are gone; then forget them.

    All that was on them is here: what cannot be deleted is told, and is no failure.
    """
    write_state(path, dataclasses.replace(state, phase=LEAVING))
    try:
        delete_claim(cluster, state.claim, [state.id] if state.id else [])
    except AutopipeError as error:
        log.warning("%s", error.message)
        log.warning("the claim %s is left; the same command, or --clean, removes it", state.claim)
        return
    forget_state(path)


def keep(path: Path, state: ClusterRun, origin: Origin, cluster: Cluster, *, over: bool) -> None:
    """Keep a claim for the next run. over: its run has ended, and what it made is here.

    Never raises AutopipeError: it is called on the way of another.
    """
    date = time.strftime("%Y-%m-%d", time.localtime(time.time() + KEPT_SECONDS))
    try:
        if over:
            if state.id:
                remove_pods(cluster, state.id)
            write_state(path, dataclasses.replace(state, phase=KEPT))
        keep_claim(cluster, state.claim, origin)
    except AutopipeError as error:
        log.warning("%s", error.message)
    log.warning(
        "the volume is kept until %s as claim %s in namespace %s: the same command goes on from it, --clean removes it",
        date,
        state.claim,
        cluster.namespace,
    )
