"""`--clean`: removes from the namespace what runs left there, found by the labels that all of it has."""

import logging
import os
import socket
import sys
import time
from pathlib import Path

from src.dag import Dag
from src.errors import AutopipeError
from src.kube.api import Api
from src.kube.cluster import Cluster
from src.kube.ending import end_run
from src.kube.kubeconfig import open_cluster
from src.kube.labels import label_value, origin_of
from src.kube.leftovers import Leftover, list_leftovers, remove
from src.kube.server import read_server
from src.kube.state import ClusterRun, forget_state, read_state, state_path
from src.lock import dag_folder, lock_dag
from src.settings import Settings

log = logging.getLogger("autopipe")


def clean_up(settings: Settings, dag: Dag | None, output: Path | None) -> None:
    """Remove what is past its expiry; with a DAG all that its runs left, but what is at work. Print what was removed.

    output: where the DAG's runs are kept; the record there tells of a run whose client died, which is ended.
    Raises BusyError when the DAG is running into it, RunError when the cluster refuses.
    """
    cluster = open_cluster(settings)
    if dag is None or output is None:
        found = list_leftovers(cluster)
        _remove(cluster, [one for one in found if one.is_expired(time.time())], found)
        return
    with lock_dag(dag, output):
        path = state_path(dag_folder(dag, output), dag, settings)
        state = read_state(path)
        origin = origin_of(dag, "", os.environ, socket.gethostname())
        if state:
            _end(state, settings, cluster)
        found = list_leftovers(cluster, owner=label_value(origin.owner), dag=origin.dag_label)
        # What is in use may be of a run into another folder; what the record names is ours, and its client is dead.
        _remove(cluster, [one for one in found if not one.in_use or (state and one.name == state.claim)], found)
        forget_state(path)


def _end(state: ClusterRun, settings: Settings, cluster: Cluster) -> None:
    """End the run of a client that died; a server that cannot be asked is no obstacle."""
    if not settings.kfp_api_url:
        return
    try:
        with Api(read_server(settings), patience=10) as api:
            for run in api.find_runs(state.name, cluster.namespace):
                if not run.is_final:
                    end_run(api, run.id, cluster.stop)
    except AutopipeError as error:
        log.warning("run %s may still go on on the server: %s", state.name, error.message)


def _remove(cluster: Cluster, gone: list[Leftover], found: list[Leftover]) -> None:
    lines = []
    for one in gone:
        remove(cluster, one)
        lines.append(f"removed {_describe(one)}")
    lines += [f"left    {_describe(one)}: {_reason(one)}" for one in found if one not in gone]
    sys.stdout.write("\n".join(lines or [f"nothing of ours is left in namespace {cluster.namespace}"]) + "\n")


def _describe(one: Leftover) -> str:
    kind = "pod" if one.kind == "pods" else "claim"
    return f"{kind} {one.name}, of run {one.run} of {one.dag}, {one.owner}"


def _reason(one: Leftover) -> str:
    if one.in_use:
        return "it is at work"
    return "until " + (time.strftime("%Y-%m-%d %H:%M", time.localtime(one.expiry)) if one.expiry else "it is removed")
