"""Stage 3, docker build: makes what each component runs in: images, pushed for a cluster, or environments."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from src.cli import run_program
from src.dag import Dag
from src.options import add_build_options, add_common_options, add_target_option
from src.request import Request
from src.settings import Settings


def build_images(dag: Dag, settings: Settings, target: str, *, rebuild: bool = False) -> None:
    """Make what a DAG's components run in on a target; what is there already is left alone, unless it is to be rebuilt.

    Raises ImageError when one cannot be made or pushed, FetchError when a component is not here, ConfigError before any
    work when it is not clear where images shall go.
    """
    from src.plan import make_plan
    from src.sources import find_folders
    from src.targets import load_target

    folders = find_folders(dag, settings)
    load_target(target).environments(make_plan(dag), folders, replace(settings, rebuild=rebuild), make=True)


def build(request: Request) -> None:
    """Run stage 3 alone."""
    from src.targets import choose_target

    dag, settings = request.dag, request.settings
    target, _ = choose_target(request.target, settings, fetched=dag.repository is not None)
    build_images(dag, settings, target, rebuild=request.rebuild)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    parser = argparse.ArgumentParser(prog="docker_build.py", description="Stage 3: make what the components run in.")
    add_common_options(parser)
    add_target_option(parser)
    add_build_options(parser)
    return run_program(build, parser, argv)


if __name__ == "__main__":
    raise SystemExit(main())
