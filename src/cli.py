"""Logging, and the one boundary where errors become messages and exit statuses."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

TYPE_CHECKING = False  # as typing has it, which --help shall not wait for: nor for anything else that only a run needs
if TYPE_CHECKING:
    from typing import TextIO

    from src.errors import AutopipeError
    from src.request import Request

BUG = "this is a bug of the tool: please report it with the lines above, at the project's page"


def run_program(
    program: "Callable[[Request], None]", parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    """Parse argv, run the program, print at most one error with its hint; return the exit status."""
    _open_closed_streams()
    args = parser.parse_args(argv)
    if args.input is None and not args.clean and not args.check:
        parser.error("the following arguments are required: -i/--input")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that this terminal has no letters for must not end a run
        sys.stdout.reconfigure(errors="backslashreplace")
    set_up_logging(verbose=args.verbose, quiet=args.quiet)
    from src.errors import AutopipeError, Interrupted
    from src.signals import on_ending_signals, raise_interrupted

    try:
        with on_ending_signals(raise_interrupted):
            if getattr(args, "clean", False):
                _clean(args)
            elif getattr(args, "check", False):
                from src.check import check

                check(args)
            else:
                program(_make_request(args))
            sys.stdout.flush()
    except AutopipeError as error:
        _show(error)
        return error.status
    except KeyboardInterrupt:
        _show(Interrupted(2))
        return 130
    except BrokenPipeError:
        # Whoever read the results has seen enough; nothing more can be printed, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001  # the boundary: what comes here is our own mistake, shown whole
        import traceback

        sys.stderr.write(traceback.format_exc() + BUG + "\n")
        return 1
    return 0


def _open_closed_streams() -> None:
    # Closed by whoever started the program (>&-), they are None.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  # it stays open


def _clean(args: argparse.Namespace) -> None:
    from src.kube.clean import clean_up

    if args.input is None:
        from src.settings import load_settings

        clean_up(load_settings(args.env_file, os.environ), None, None)
    else:
        request = _make_request(args)
        clean_up(request.settings, request.dag, request.output)


def _make_request(args: argparse.Namespace) -> "Request":
    from dataclasses import replace

    from src.dag import load_dag
    from src.request import Request
    from src.settings import load_settings

    settings = replace(
        load_settings(args.env_file, os.environ),
        detach=getattr(args, "detach", False),
        keep_volume=getattr(args, "keep_volume", False),
    )
    dag = load_dag(args.input)
    import logging

    for warning in dag.warnings:
        logging.getLogger("autopipe").warning("%s", warning)
    media = getattr(args, "media", None)
    if media:
        dag = replace(dag, media=tuple(path.expanduser().absolute() for path in media))
    output = getattr(args, "output", None) or settings.output_dir or dag.path.parent / "output"
    quiet = args.quiet or args.verbose
    return Request(
        dag=dag,
        settings=settings,
        output=output.expanduser().absolute(),
        target=getattr(args, "target", "auto"),
        fresh=getattr(args, "fresh", False),
        rebuild=getattr(args, "rebuild", False),
        dry_run=getattr(args, "dry_run", False),
        json=getattr(args, "json", False),
        live=sys.stderr.isatty() and not quiet and os.environ.get("TERM") != "dumb",
    )


def set_up_logging(*, verbose: bool, quiet: bool) -> None:
    """Send what the parts tell to stderr, each line with the time."""
    import logging

    class Handler(logging.StreamHandler):  # type: ignore[type-arg]
        # While bars are shown, sys.stderr puts lines above them: it is looked up for each line.
        @property
        def stream(self) -> "TextIO":
            return sys.stderr

        @stream.setter
        def stream(self, value: "TextIO") -> None:
            del value

    log = logging.getLogger("autopipe")
    handler = Handler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    log.propagate = False


def _show(error: "AutopipeError") -> None:
    lines = [f"error: {error.message}" if error.status else error.message, *(f"  {line}" for line in error.details)]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    sys.stderr.write("\n".join(lines) + "\n")
