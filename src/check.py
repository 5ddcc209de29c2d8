"""`--check`: proves that what a run needs will work, with a hint for each that does not."""

import argparse
import os
import sys
from collections.abc import Iterator

from src.dag import Dag, load_dag
from src.errors import AutopipeError, ConfigError, FetchError, ImageError, OutputError, RunError
from src.finding import Finding, finding_of
from src.setting_values import HUB
from src.settings import Settings, load_settings
from src.step import SAVE_MEDIA
from src.targets import choose_target

_CLASSES = {error.status: error for error in (ConfigError, FetchError, ImageError, RunError, OutputError)}


def check(args: argparse.Namespace) -> None:
    """Ask all that the target needs and print the answers; raises the error of the first that a run would fail for."""
    settings = load_settings(args.env_file, os.environ)
    dag = load_dag(args.input) if args.input else None
    target, reason = choose_target(args.target, settings, fetched=dag is not None and dag.repository is not None)
    findings = [Finding(subject="target", text=f"{target} ({reason})")]
    _show(findings[0])
    for finding in _ask(target, dag, settings):
        findings.append(finding)
        _show(finding)
    bad = [finding for finding in findings if not finding.fine]
    if bad:
        first = bad[0]
        more = (f"and {len(bad) - 1} more: see above",) if len(bad) > 1 else ()
        raise _CLASSES.get(first.status, AutopipeError)(
            f"{first.subject}: {first.text}", details=more, hint=first.hint or "correct this, then check again"
        )


def _ask(target: str, dag: Dag | None, settings: Settings) -> Iterator[Finding]:
    if target == "process":
        return
    from src.image.checks import check_engine, check_registry
    from src.image.recipe import choose_base

    names = (SAVE_MEDIA, *(dag.components if dag else ()))
    bases = [choose_base(dag.options_of(name), settings) for name in dag.components] if dag else []
    if target == "docker":
        far = list(_check_near(settings))
        if far:
            yield from far
            return
    yield from check_engine(settings, dict.fromkeys([settings.base_image, *bases]))
    if target == "docker":
        # Nothing is pushed; but who has said where to, and as whom, wants to know.
        if settings.registry != HUB or settings.registry_namespace or settings.register_username:
            yield from check_registry(settings, names)
        return
    from src.kube.checks import check_cluster, check_server
    from src.kube.load import loads_images

    if not loads_images(settings):
        yield from check_registry(settings, names)
    yield from check_server(settings)
    yield from check_cluster(settings, _known_image(dag, settings))


def _check_near(settings: Settings) -> Iterator[Finding]:
    from src.targets.docker import check_near

    try:
        check_near(settings)
    except ConfigError as error:
        yield finding_of("engine", error)
    except ImageError:  # check_engine tells
        return


def _known_image(dag: Dag | None, settings: Settings) -> str | None:
    """Return an image of the DAG's that is in the registry already, by its digest; None when there is none."""
    from src.images import find_images
    from src.plan import make_plan
    from src.sources import find_folders

    if dag is None:
        return None
    try:
        images = find_images(make_plan(dag), find_folders(dag, settings), settings, push=True)
    except AutopipeError:  # other questions tell why
        return None
    return next((image.digest for image in images.values() if image.digest), None)


def _show(finding: Finding) -> None:
    word = "ok" if finding.fine and not finding.hint else "note" if finding.fine else "FAILS"
    sys.stdout.write(f"{word:<5}  {finding.subject}: {finding.text}\n")
    if finding.hint:
        sys.stdout.write(f"       {finding.hint}\n")
    sys.stdout.flush()
