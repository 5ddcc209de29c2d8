"""Carries media through a graph of components: the driver, four stages in order."""

import argparse
from collections.abc import Sequence

from src.cli import run_program
from src.options import add_build_options, add_check_option, add_clean_option, add_common_options, add_run_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from src.request import Request

DESCRIPTION = "Carry media through the graph of components that a DAG file describes."
STATUSES = """exit status: 0 done, outputs verified; 2 arguments, DAG file or settings; 3 media or components not here;
4 image or environment not made; 5 a step or the cluster failed; 6 outputs not brought here; 75 running already;
130, 143 interrupted; 1 a bug of ours. The same command again goes on where the last one ended."""


def run(request: "Request") -> None:
    """Save the media, download the components, make what they run in, run the pipeline."""
    import logging

    from docker_build import build_images
    from download_components import fetch_components
    from src.inputs import check_inputs
    from src.lock import lock_dag
    from src.media import save_media
    from src.pipeline_manager import print_result, run_pipeline
    from src.preview import show_plan
    from src.store import open_store
    from src.targets import choose_target

    if request.dry_run:
        show_plan(request)
        return
    log = logging.getLogger("autopipe")
    dag, settings = request.dag, request.settings
    target, reason = choose_target(request.target, settings, fetched=dag.repository is not None)
    log.info("%s: %d components, target %s (%s)", dag.name, len(dag.components), target, reason)
    check_inputs(dag, settings, target)
    with lock_dag(dag, request.output):
        log.info("1. save media")
        save_media(dag.media, open_store(dag, request.output))
        log.info("2. download components%s", "" if dag.repository else ": no repository is named")
        fetch_components(dag, settings)
        log.info("3. docker build: %s", "environments, for no image is used" if target == "process" else "images")
        build_images(dag, settings, target, rebuild=request.rebuild)
        log.info("4. pipeline manager")
        result = run_pipeline(dag, settings, target, output=request.output, fresh=request.fresh, live=request.live)
        print_result(result, as_json=request.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(prog="autopipe.py", description=DESCRIPTION, epilog=STATUSES)
    add_common_options(parser, optional_dag=True)
    add_run_options(parser)
    add_clean_option(parser)
    add_check_option(parser)
    add_build_options(parser)
    return run_program(run, parser, argv)


if __name__ == "__main__":
    raise SystemExit(main())
