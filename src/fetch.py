"""Stage 2: the folder of each component, fetched from the DAG file's repository or found on this machine."""

import errno
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from src.components import locate_components
from src.dag import Dag, Options
from src.errors import FetchError
from src.repository.causes import Cause
from src.repository.commit import Want, fetch_commit
from src.repository.errors import GitError
from src.repository.folders import FetchedStore
from src.repository.mirror import open_workspace
from src.repository.revision import Target, as_full_commit, find_target
from src.repository.url import Repository, parse_repository
from src.settings import ROOT, Settings

log = logging.getLogger("autopipe")

_NO_NETWORK = frozenset({Cause.UNREACHABLE, Cause.TIMEOUT, Cause.REFUSED, Cause.TLS})


def fetch_components(dag: Dag, settings: Settings) -> dict[str, Path]:
    """Return the folder of each component of a DAG, after fetching what is not here yet.

    What the repository has goes before a folder of the user's, which is never touched; what it has not is taken from
    there. Raises FetchError.
    """
    if not dag.repository:
        return locate_components(dag, settings, {})
    repository, store = parse_repository(dag.repository, dag.path.parent), _open_store(dag, settings)
    with _explain_disk_errors(settings, store):
        commit = _bring(dag, settings, repository, store)
        if not as_full_commit(dag.revision):
            store.note_commit(repository.url, dag.revision, commit)
        folders = _collect(dag, settings, store, commit)
        for name in dag.components:
            if store.has(commit, name) and not store.show(commit, name):
                log.warning(
                    "%s is yours and is left alone: the %s of %s is used", store.components / name, name, repository.url
                )
            elif not store.has(commit, name):
                log.info("%s: not in %s, your folder %s is used", name, repository.url, folders[name])
    return folders


def fetched_folders(dag: Dag, settings: Settings) -> dict[str, Path] | None:
    """Return what fetch_components would, as far as it is here already; None when something has to be fetched first.

    Nothing is asked over the network: a branch means what it did at the last fetch.
    """
    if not dag.repository:
        return locate_components(dag, settings, {})
    commit = fetched_commit(dag, settings)
    store = _open_store(dag, settings)
    if commit is None or not _is_here(dag, settings, store, commit):
        return None
    return _collect(dag, settings, store, commit)


def fetched_commit(dag: Dag, settings: Settings) -> str | None:
    """Return the full id of the commit that was fetched last for a DAG's repository and revision; None without one."""
    if not dag.repository:
        return None
    url = parse_repository(dag.repository, dag.path.parent).url
    return as_full_commit(dag.revision) or _open_store(dag, settings).last_commit(url, dag.revision)


def _open_store(dag: Dag, settings: Settings) -> FetchedStore:
    return FetchedStore(components=(settings.components_dir or dag.path.parent / "components").resolve())


def _bring(dag: Dag, settings: Settings, repository: Repository, store: FetchedStore) -> str:
    """Fetch what is not here; return the commit."""
    commit = as_full_commit(dag.revision)
    if commit and _is_here(dag, settings, store, commit):
        log.info("components of %s at %s are here", repository.url, commit[:12])
        return commit
    with open_workspace(repository, settings.cache_dir) as work:
        try:
            target = find_target(work, dag.revision)
        except GitError as error:
            last = store.last_commit(repository.url, dag.revision)
            if error.cause in _NO_NETWORK and last:
                error.hint += f"; `revision: {last}`, the commit fetched last, needs no network"
            raise
        if _is_here(dag, settings, store, target.commit):
            log.info("components of %s at %s are here (%s)", repository.url, target.commit[:12], dag.revision or "HEAD")
            return target.commit
        log.info("fetching components of %s at %s (%s)", repository.url, target.commit[:12], dag.revision or "HEAD")
        wants = [want for want in _list_wants(dag, settings, store) if not store.has(target.commit, want.name)]
        if len(target.commit) == 40:
            fetch_commit(work, target, wants, store)
    if len(target.commit) == 64:
        _fetch_sha256(repository, settings, target, wants, store)
    return target.commit


def _fetch_sha256(
    repository: Repository, settings: Settings, target: Target, wants: Sequence[Want], store: FetchedStore
) -> None:
    # Such objects cannot be in one folder with others.
    with open_workspace(repository, settings.cache_dir, object_format="sha256") as work:
        fetch_commit(work, target, wants, store)


def _list_wants(dag: Dag, settings: Settings, store: FetchedStore) -> list[Want]:
    return [
        Want(
            name=name,
            line=f"{dag.path.name}:{dag.lines[name]}" if name in dag.lines else "",
            has_command=dag.options_of(name).command != Options().command,
            has_local=_find_local(settings, store, name) is not None,
        )
        for name in dag.components
    ]


def _is_here(dag: Dag, settings: Settings, store: FetchedStore, commit: str) -> bool:
    return all(
        store.has(commit, name) or (store.lacks(commit, name) and _find_local(settings, store, name))
        for name in dag.components
    )


def _find_local(settings: Settings, store: FetchedStore, name: str) -> Path | None:
    """Return the user's own folder of a component: in COMPONENTS_DIR, else beside the DAG file, else the tool's."""
    places = [store] if settings.components_dir else [store, FetchedStore(components=ROOT / "components")]
    for place in places:
        if place.has_local(name) and (place.components / name).is_dir():
            return (place.components / name).resolve()
    return None


def _collect(dag: Dag, settings: Settings, store: FetchedStore, commit: str) -> dict[str, Path]:
    """Return the folder of each component, all of which are here."""
    found = {}
    for name in dag.components:
        folder = store.folder(commit, name) if store.has(commit, name) else _find_local(settings, store, name)
        if folder is None:
            raise FetchError(f"the folder of component {name} was removed just now", hint="give the same command again")
        found[name] = folder
    return found


@contextmanager
def _explain_disk_errors(settings: Settings, store: FetchedStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = os.fsdecode(error.filename) if error.filename else f"{store.components} or {settings.cache_dir}"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise FetchError(
            f"the disk is full: {where}" if full else f"cannot write {where}: {error.strerror or error}",
            hint=f"{'make room' if full else 'check its rights'}, or set COMPONENTS_DIR (now {store.components}) "
            f"and CACHE_DIR (now {settings.cache_dir})",
        ) from error
