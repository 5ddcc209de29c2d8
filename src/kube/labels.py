"""Names and labels of what is ours in a namespace; by them it is found again without any record."""

import calendar
import hashlib
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from src.dag import Dag
from src.names import safe_name

PREFIX = "kubeflow-autopipe/"
OWNER, RUN, DAG = f"{PREFIX}owner", f"{PREFIX}run", f"{PREFIX}dag"
EXPIRY, STATE, CLAIM = f"{PREFIX}expiry", f"{PREFIX}state", f"{PREFIX}claim"
MANAGED = {"app.kubernetes.io/managed-by": "kubeflow-autopipe"}
"""On everything of ours, whoever's run it is of."""

ACTIVE, KEPT = "active", "kept"
"""States of a claim: of a run at work or died at work; kept after a failure."""

KEPT_SECONDS = 7 * 24 * 3600
_TIME = "%Y%m%dT%H%M%SZ"
LONGEST_LABEL = 63


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Whose and what run things on the cluster are of. owner: who and where, such as ada@laptop."""

    owner: str
    run: str
    dag: str
    file: str  # real path of the DAG file: with the name it says which DAG

    def labels(self) -> dict[str, str]:
        """Return the labels that all things of the run have."""
        return {**MANAGED, OWNER: label_value(self.owner), RUN: label_value(self.run), DAG: self.dag_label}

    @property
    def dag_label(self) -> str:
        """The DAG as a label value: its safe name and a digest of the file's path."""
        return f"{safe_name(self.dag)}-{_digest(self.file)}"

    def texts(self) -> dict[str, str]:
        """Return the annotations: what a label cannot hold, for people."""
        return {f"{PREFIX}owner-name": self.owner, f"{PREFIX}dag-name": self.dag, f"{PREFIX}dag-file": self.file}


def origin_of(dag: Dag, run_id: str, environ: Mapping[str, str], host: str) -> Origin:
    """Return the origin of a run: its owner is the user of this machine."""
    user = next((environ[name] for name in ("LOGNAME", "USER", "USERNAME") if environ.get(name)), str(os.getuid()))
    return Origin(owner=f"{user}@{host}", run=run_id, dag=dag.name, file=os.fspath(dag.path))


def label_value(text: str) -> str:
    """Return text as a label value, [A-Za-z0-9._-] and at most 63 characters; other texts get a digest."""
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        return text
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[: LONGEST_LABEL - 9].strip("._-")
    return f"{plain}-{_digest(text)}" if plain else _digest(text)


def claim_name(origin: Origin) -> str:
    """Return a new name for the claim of a run: a DNS label of at most 53 characters."""
    run = re.sub(r"[^a-z0-9]+", "-", origin.run.lower()).strip("-")[:20]
    return "-".join(("autopipe", safe_name(origin.dag)[:16].strip("-"), run, secrets.token_hex(2)))


def helper_name(claim: str) -> str:
    """Return a new name for a helper pod on a claim: a DNS label of at most 60 characters."""
    return f"{claim}-h{secrets.token_hex(2)}"


def expiry_label(seconds: float) -> str:
    """Return a moment, in seconds since the epoch, as a label value."""
    return time.strftime(_TIME, time.gmtime(seconds))


def read_expiry(text: str) -> float | None:
    """Return the moment of a label value, in seconds since the epoch, or None."""
    try:
        return float(calendar.timegm(time.strptime(text, _TIME)))
    except ValueError:
        return None


def selector(labels: Mapping[str, str]) -> str:
    """Return the label selector that things with all of these labels match."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
