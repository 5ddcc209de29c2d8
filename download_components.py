"""Stage 2, download components: brings the components of a DAG file here, from its repository where it names one."""

import argparse
import sys
from collections.abc import Sequence

from src.cli import Request, add_common_options, run_program
from src.fetch import fetch_components

__all__ = ["fetch_components", "main"]


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
