"""Runs the program and sends it a signal at its n-th act: NUMBER SIGNAL COUNT_FILE, then its arguments.

An act is on the disk, or a request to a server. The number of acts in all is written to COUNT_FILE at the end, so that
a test can run it once undisturbed (NUMBER 0) and then end it at any of them. Unlike a moment of the clock, a number is
the same moment on a slow machine.
"""

import os
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import autopipe  # noqa: E402  # the path to it is made above

ACTS = frozenset(
    [
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.truncate",
        "os.chmod",
        "fcntl.flock",
        "shutil.rmtree",
        "subprocess.Popen",
        "http.client.send",
    ]
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def main() -> int:
    """Run the program; return its exit status."""
    number, signal_number, count_file = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    acts = 0

    def audit(event: str, args: tuple[Any, ...]) -> None:
        nonlocal acts
        if event in ACTS or (event == "open" and isinstance(args[2], int) and args[2] & WRITES):
            acts += 1
            if acts == number:
                os.kill(os.getpid(), signal_number)

    sys.addaudithook(audit)
    status = autopipe.main(sys.argv[4:])
    total = acts
    count_file.write_text(str(total))
    return status


if __name__ == "__main__":
    raise SystemExit(main())
