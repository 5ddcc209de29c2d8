"""Stage 2, download components: brings the components of a DAG file here, from its repository where it names one."""

import argparse
from collections.abc import Sequence

from src.cli import Request, add_common_options, run_program
from src.fetch import fetch_components

__all__ = ["fetch_components", "main"]


def download(request: Request) -> None:
    """Run stage 2 alone."""
    fetch_components(request.dag, request.settings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="download_components.py", description="Stage 2: bring the components of a DAG file here."
    )
    add_common_options(parser)
    return run_program(download, parser, argv)


if __name__ == "__main__":
    raise SystemExit(main())
