"""Watches a thing on the cluster: tells each of its states as it changes, without polling."""

import json
from collections.abc import Iterator
from urllib.parse import urlencode

from src.kube.cluster import Cluster
from src.kube.refusal import PASSING, explain_refusal
from src.step import Record


def watch(cluster: Cluster, kind: str, name: str, *, tick: int) -> Iterator[Record | None]:
    """Give a thing as it is: at first, whenever it changes, and every tick seconds; None when there is none.

    Raises ApiError, CutError, StoppedError.
    """
    while True:
        items, version = cluster.find(kind, fields=f"metadata.name={name}")
        state = items[0] if items else None
        yield state
        fresh = True
        while fresh:
            cluster.pause(0)
            fresh = False
            for event in _changes(cluster, kind, name, version, tick):
                if event["type"] == "ERROR":  # the version is too old
                    break
                version = event["object"]["metadata"]["resourceVersion"]
                state = None if event["type"] == "DELETED" else event["object"]
                fresh = True
                yield state
            else:
                yield state
                fresh = True


def _changes(cluster: Cluster, kind: str, name: str, version: str, seconds: int) -> Iterator[Record]:
    import urllib3

    query = {
        "watch": "1",
        "fieldSelector": f"metadata.name={name}",
        "resourceVersion": version,
        "timeoutSeconds": seconds,
    }
    answer = cluster.api_server.send("GET", f"{cluster.path(kind)}?{urlencode(query)}", headers={}, read=seconds + 30.0)
    if answer.status != 200:
        text = answer.data.decode("utf-8", "replace")
        refusal = explain_refusal(answer.status, text, f"watch {kind}", cluster.namespace)
        if refusal.code in PASSING or refusal.code == 410:
            cluster.pause(1.0)
            yield {"type": "ERROR"}
            return
        raise refusal
    rest = b""
    try:
        for chunk in answer.stream(1 << 16, decode_content=True):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines if line)
    except (urllib3.exceptions.HTTPError, OSError):
        yield {"type": "ERROR"}  # cut: the list is asked for again
    finally:
        answer.close()
        answer.release_conn()
