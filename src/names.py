"""Names of components: which are allowed, and their one safe form for images and Kubernetes."""

import hashlib
import re

LONGEST_NAME = 100
LONGEST_SAFE_NAME = 50
RESERVED = frozenset({"save-media", "logs", "run-json", "report-html", "pipeline-yaml"})
"""Safe forms that the tool uses itself: the first step, and what stands beside the steps in a run's folder."""

_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNSAFE = re.compile(r"[^a-z0-9]+")


def safe_name(name: str) -> str:
    """Return the safe form: [a-z][a-z0-9-]*, at most 50 characters, no "-" at the end or twice in a row.

    It is a task name for KFP, a DNS label and a part of an image repository. The same name always gives
    the same form, and a safe form is its own; two names may give one (`a_b`, `A-b`), which the DAG's check
    refuses. A long name keeps its beginning and gets a digest, so that long names stay apart.
    """
    safe = _UNSAFE.sub("-", name.lower()).strip("-")
    if not safe:
        return f"x-{_digest(name)}"
    if not safe[0].isalpha():
        safe = f"x-{safe}"
    if len(safe) > LONGEST_SAFE_NAME:
        safe = f"{safe[: LONGEST_SAFE_NAME - 9].rstrip('-')}-{_digest(safe)}"
    return safe


def explain_bad_name(name: str) -> str:
    """Return why name cannot be a component's name; empty when it can."""
    if not name.strip():
        return "is empty"
    if len(name) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} characters"
    if ".." in name:
        return "contains '..'"
    if not _ALLOWED.fullmatch(name):
        return "may only have letters, digits, '.', '_', '-', and begins with a letter or digit"
    if safe_name(name) in RESERVED:
        return "is reserved for the tool itself"
    return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
