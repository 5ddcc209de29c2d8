"""Stage 2, download components: brings the components of a DAG file here, from its repository where it names one."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from src.cli import run_program
from src.components import locate_components
from src.dag import Dag
from src.options import add_common_options
from src.request import Request
from src.settings import Settings


def fetch_components(dag: Dag, settings: Settings) -> dict[str, Path]:
    """Return the folder of each component of a DAG, after fetching what is not here yet; raises FetchError."""
    if not dag.repository:
        return locate_components(dag, settings, {})
    from src import fetch  # with all that Git needs, which runs without a repository need not wait for

    return fetch.fetch_components(dag, settings)


def download(request: Request) -> None:
    """Run stage 2 alone; print the folder of each component."""
    for name, folder in fetch_components(request.dag, request.settings).items():
        sys.stdout.write(f"{name} {folder}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="download_components.py", description="Stage 2: bring the components of a DAG file here."
    )
    add_common_options(parser)
    return run_program(download, parser, argv)


if __name__ == "__main__":
    raise SystemExit(main())
