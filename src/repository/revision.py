"""Which commit a revision of a remote repository means: a branch, a tag, a commit or the beginning of one."""

import logging
import re
from dataclasses import dataclass

from src.repository.causes import FINAL, Cause
from src.repository.door import FETCH_SECONDS, LOOK_SECONDS, WHOLE_DEPTH
from src.repository.errors import GitError, explain
from src.repository.mirror import Workspace

log = logging.getLogger("autopipe")

_FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-fA-F]{4,63}")
SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Target:
    """The commit to fetch, and the remote's name for it where it has one."""

    commit: str
    ref: str | None = None


def as_full_commit(revision: str | None) -> str | None:
    """Return the revision when it is a commit's full id."""
    return revision.lower() if revision and _FULL.fullmatch(revision.lower()) else None


def find_target(work: Workspace, revision: str | None) -> Target:
    """Ask the remote which commit a revision means; None is its HEAD. A branch goes before a tag of the same name.

    Raises GitError for a revision that is not there, with the names that come near.
    """
    if commit := as_full_commit(revision):
        return Target(commit=commit)
    wanted = ref_names(revision)
    refs = _list_refs(work, *wanted, *(f"{name}^{{}}" for name in wanted))
    found = [name for name in wanted if name in refs]
    if found:
        if len(found) > 1:
            log.warning(
                "%s is a branch and a tag of %s: the branch is taken (write %s for the tag)",
                revision,
                work.git.repository.url,
                found[1],
            )
        return Target(commit=refs.get(f"{found[0]}^{{}}", refs[found[0]]), ref=found[0])
    if revision and _SHORT.fullmatch(revision) and (commit := _find_short(work, revision.lower())):
        return Target(commit=commit)
    raise _unknown(work, revision)


def ref_names(revision: str | None) -> tuple[str, ...]:
    """Return the remote's names that a revision may mean, the first one first."""
    if revision in (None, "HEAD"):
        return ("HEAD",)
    if revision.startswith("refs/"):
        return (revision,)
    return (f"refs/heads/{revision}", f"refs/tags/{revision}")


def _list_refs(work: Workspace, *patterns: str) -> dict[str, str]:
    """Return name -> object id, as the remote says."""
    output = work.git.run("ls-remote", "origin", *patterns, timeout=LOOK_SECONDS).decode("utf-8", "replace")
    return {name: oid for oid, _, name in (line.partition("\t") for line in output.splitlines())}


def _find_short(work: Workspace, revision: str) -> str | None:
    """Return the commit that begins so: of those fetched before, else of all that the remote has."""
    if commit := resolve(work, revision):
        return commit
    log.info("looking for the commit %s in all of %s", revision, work.git.repository.url)
    # Commits alone: a few hundred bytes each. A server that cannot filter sends all there is.
    everything = ("origin", "+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*")
    filtered = ("fetch", "--quiet", WHOLE_DEPTH, "--filter=tree:0", *everything)
    outcome = work.git.attempt(*filtered, timeout=FETCH_SECONDS)
    work.forget_partial()
    if outcome.status:
        error = explain(outcome, work.git.repository)
        if error.cause in FINAL:
            raise error
        work.git.run("fetch", "--quiet", *everything, timeout=FETCH_SECONDS)
    commit = resolve(work, revision)
    work.reset()  # a server that is told of these commits would think that we have their files
    return commit


def resolve(work: Workspace, revision: str) -> str | None:
    """Return the id of the commit that is here under this name."""
    outcome = work.git.attempt("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    return outcome.output.decode().strip() or None if outcome.status == 0 else None


def _unknown(work: Workspace, revision: str | None) -> GitError:
    import difflib  # only here

    url = work.git.repository.url
    listed = [name for name in _list_refs(work, "refs/heads/*", "refs/tags/*") if not name.endswith("^{}")]
    names = [name.split("/", 2)[2] for name in listed]
    shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    if not names:
        return GitError(
            f"{url} is empty: it has no branch and no tag",
            cause=Cause.NOT_FOUND,
            hint="push the components to it first",
        )
    if not revision:
        return GitError(
            f"{url} does not say which branch is the usual one",
            cause=Cause.NOT_FOUND,
            hint=f"write `revision:` into the DAG file; there is {shown}",
        )
    near = difflib.get_close_matches(revision, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there is {shown}"
    return GitError(f"revision {revision!r} is no branch, tag or commit of {url}", cause=Cause.NOT_FOUND, hint=hint)
