"""The objects of a commit, fetched with as little as the server allows: shallow and partial, else step by step more."""

import logging
from collections.abc import Iterable, Iterator

from src.repository.causes import FINAL, Cause
from src.repository.door import FETCH_SECONDS, WHOLE_DEPTH
from src.repository.errors import GitError, explain
from src.repository.mirror import Workspace
from src.repository.revision import Target, resolve

log = logging.getLogger("autopipe")

BATCH = 5000
"""Objects asked for by one command line."""

_NEW = "refs/fetched/new"
_ALL = ("origin", "+refs/heads/*:refs/fetched/heads/*", "+refs/tags/*:refs/fetched/tags/*")


def get_commit(work: Workspace, target: Target, *, partial: bool = True) -> None:
    """Fetch a commit and all its trees; with partial no files, where the server can do that.

    Raises GitError when no way leads to it.
    """
    if work.has_tip(target.commit):
        return
    for arguments in _ways(target, partial=partial):
        outcome = work.git.attempt("fetch", "--quiet", *arguments, timeout=FETCH_SECONDS)
        work.forget_partial()
        if outcome.status == 0 and resolve(work, target.commit):
            work.keep(tip=target.commit)
            return
        error = explain(outcome, work.git.repository)
        if outcome.status and error.cause in FINAL:
            raise error
        log.debug("git fetch %s did not bring the commit: %s", " ".join(arguments), outcome.errors.strip())
    raise GitError(
        f"{work.git.repository.url} has no commit {target.commit}",
        cause=Cause.NO_COMMIT,
        hint="check `revision:` in the DAG file; was the commit pushed, or was its branch rewritten?",
    )


def _ways(target: Target, *, partial: bool) -> Iterator[tuple[str, ...]]:
    """Give the arguments of fetch to try, the cheapest first."""
    by_id = f"+{target.commit}:{_NEW}"
    if partial:
        yield "--depth=1", "--filter=blob:none", "origin", by_id
    yield "--depth=1", "origin", by_id
    # An old server only gives what has a name; a plain web server only whole histories.
    if target.ref:
        yield "--depth=1", "origin", f"+{target.ref}:{_NEW}"
        yield "origin", f"+{target.ref}:{_NEW}"
    if partial:
        yield WHOLE_DEPTH, "--filter=blob:none", *_ALL
    yield _ALL


def get_blobs(work: Workspace, oids: Iterable[str]) -> None:
    """Fetch the files of these ids that are not here yet. Raises GitError when the server does not give them."""
    missing = _find_missing(work, oids)
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        # A server that were told which commits we have would take it that we have their files.
        silently = ("-c", "fetch.negotiationAlgorithm=noop")
        outcome = work.git.attempt(
            *silently, "fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", *batch, timeout=FETCH_SECONDS
        )
        work.forget_partial()
        error = explain(outcome, work.git.repository)
        if outcome.status and error.cause is not Cause.NO_COMMIT:  # those are looked at below
            raise error
    if missing:
        work.keep()
        if still := _find_missing(work, missing):
            raise GitError(
                f"{work.git.repository.url} did not send {len(still)} of its files", cause=Cause.OTHER, hint="try again"
            )


def _find_missing(work: Workspace, oids: Iterable[str]) -> list[str]:
    asked = "".join(f"{oid}\n" for oid in dict.fromkeys(oids))
    lines = work.git.run("cat-file", "--batch-check", stdin=asked.encode()).decode().splitlines()
    return [line.split()[0] for line in lines if line.endswith(" missing")]


def read_blobs(work: Workspace, oids: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of files that are here, by id."""
    wanted = list(dict.fromkeys(oids))
    data = work.git.run("cat-file", "--batch", stdin="".join(f"{oid}\n" for oid in wanted).encode()) if wanted else b""
    contents, place = {}, 0
    for oid in wanted:
        start = data.index(b"\n", place) + 1
        size = int(data[place:start].split()[2])
        contents[oid] = data[start : start + size]
        place = start + size + 1
    return contents
