"""The options of the command line: those that stages share."""

import argparse
from pathlib import Path


def add_common_options(parser: argparse.ArgumentParser, *, optional_dag: bool = False) -> None:
    """Add the options that every stage has; optional_dag: some of the others need no DAG file."""
    required = not optional_dag
    parser.add_argument("-i", "--input", required=required, type=_path, metavar="DAG", help="the DAG file (YAML)")
    parser.add_argument("--env-file", type=_path, metavar="FILE", help="settings (default: .env beside the program)")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-v", "--verbose", action="store_true", help="tell more, and what components print")
    loudness.add_argument("-q", "--quiet", action="store_true", help="tell warnings and errors only")


def _path(text: str) -> Path:
    # What a script left blank would be the current folder.
    if not text.strip():
        raise argparse.ArgumentTypeError("is blank")
    return Path(text)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a whole run."""
    add_target_option(parser)
    add_media_options(parser)
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--dry-run", action="store_true", help="print what would be done; touch nothing")
    printed.add_argument("--json", action="store_true", help="print results as JSON: folder, steps, states, outputs")
    parser.add_argument("--fresh", action="store_true", help="start from nothing, whatever earlier runs left")
    parser.add_argument(
        "--detach", action="store_true", help="kubeflow: do not wait; the same command without it brings the outputs"
    )
    parser.add_argument("--keep-volume", action="store_true", help="kubeflow: do not delete the volume at the end")


def add_clean_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that removes instead of running."""
    parser.add_argument(
        "--clean",
        action="store_true",
        help="kubeflow: remove what runs left in the namespace, past its date, or with -i all of this DAG; run nothing",
    )


def add_check_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that asks instead of running."""
    parser.add_argument(
        "--check",
        action="store_true",
        help="ask engine, registry and cluster whether a run would work, with a hint for what would not; run nothing",
    )


def add_target_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where steps run."""
    parser.add_argument(
        "--target",
        choices=("auto", "kubeflow", "docker", "process"),
        default="auto",
        help="where steps run: kubeflow: on a cluster; docker: in containers on this machine; process: as plain child "
        "processes; auto: kubeflow when KFP_API_URL is set, docker where an engine is set up, else process "
        "(default: auto)",
    )


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of stage 3."""
    parser.add_argument("--rebuild", action="store_true", help="build all images anew, whatever is there")


def add_media_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where media comes from and outputs go."""
    parser.add_argument(
        "--media",
        action="append",
        type=_path,
        metavar="FILE",
        help="file or folder in the place of the DAG file's media",
    )
    parser.add_argument(
        "--output", type=_path, metavar="DIR", help="where runs are kept (default: output/ beside the DAG file)"
    )
