"""Runs the program and kills it at its n-th act on the disk or on a server: NUMBER COUNT_FILE, then its arguments.

An act is what leaves a trace: a file made, changed or moved, or a request sent. The number of acts in all is written
to COUNT_FILE at the end, so that a test can run it once undisturbed (NUMBER 0) and then kill it at any of them.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

ACTS = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "http.client.send"})
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def main() -> int:
    """Run the program; return its exit status."""
    import autopipe

    number, count_file = int(sys.argv[1]), Path(sys.argv[2])
    acts = 0

    def audit(event: str, args: tuple[Any, ...]) -> None:
        nonlocal acts
        if event in ACTS or (event == "open" and isinstance(args[2], int) and args[2] & WRITES):
            acts += 1
            if acts == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    status = autopipe.main(sys.argv[3:])
    total = acts
    count_file.write_text(str(total))
    return status


if __name__ == "__main__":
    raise SystemExit(main())
