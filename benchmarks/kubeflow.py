"""Measures the tool's own time around a run on a cluster: before its submission, and after its last step.

    KFP_API_URL=... KUBECONFIG=... REGISTRY=... python -m benchmarks.kubeflow [--rounds 5] [--env-file FILE]

A DAG of three small steps runs in each round, on media of its own. `to submission` is from images that are ready to the
server's answer; of it, `helper pod` is what the cluster takes to make the volume and start a pod on it, the least that
any client must wait for. `to outputs` is from the end of the last step, by the clock of its pod, to its output's last
change here: the two clocks must agree.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import autopipe
from src.kube.helper import Helper
from src.targets import kubeflow

COPY = "import sys\nopen(sys.argv[4] + '.txt', 'w').write(open(sys.argv[2]).read() + 'and on\\n')\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--env-file", default=os.devnull)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        rounds = [measure(write_dag(Path(folder)), args.env_file, number) for number in range(args.rounds + 1)][1:]
    names = list(rounds[0])
    print(f"{'seconds':<16}{'median':>9}{'least':>9}{'most':>9}   of {len(rounds)} rounds")
    for name in names:
        values = [one[name] for one in rounds]
        print(f"{name:<16}{statistics.median(values):>9.2f}{min(values):>9.2f}{max(values):>9.2f}")
    return 0


def write_dag(folder: Path) -> Path:
    """Write a chain of three components; return its DAG file."""
    for name in "abc":
        (folder / "components" / name).mkdir(parents=True, exist_ok=True)
        (folder / "components" / name / "main.py").write_text(COPY)
    path = folder / "dag.yaml"
    edges = [["a", "b", 1], ["b", "c", 1]]
    system = {"name": "bench", "input_media": "clip.txt", "components": list("abc"), "dependencies": edges}
    path.write_text(json.dumps({"System": system}))
    return path


class Moments(logging.Filter):
    """Notes when the program says what."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[float, str]] = []

    def filter(self, record: logging.LogRecord) -> bool:
        self.said.append((time.time(), record.getMessage()))
        return False

    def last(self, words: str) -> float:
        """Return when something was said last."""
        return [moment for moment, text in self.said if words in text][-1]


def measure(path: Path, env_file: str, number: int) -> dict[str, float]:
    """Run the DAG once; return seconds by what they went into."""
    (path.parent / "clip.txt").write_text(f"round {number} at {time.time()}\n")
    moments, waits, ready = Moments(), [], []
    start_pod, find_images = Helper.start, kubeflow.environments

    def timed(self: Helper) -> None:
        start = time.monotonic()
        start_pod(self)
        waits.append(time.monotonic() - start)

    def found(*args: Any, **options: Any) -> dict[str, str]:
        images = find_images(*args, **options)
        ready.append(time.time())
        return images

    Helper.start = timed  # type: ignore[method-assign]
    kubeflow.environments = found
    logging.getLogger("autopipe").addFilter(moments)
    out, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: PTH123, SIM115
    try:
        start = time.time()
        status = autopipe.main(["-i", str(path), "--target", "kubeflow", "--env-file", env_file])
        end = time.time()
    finally:
        sys.stdout = out
        Helper.start = start_pod  # type: ignore[method-assign]
        kubeflow.environments = find_images
        logging.getLogger("autopipe").removeFilter(moments)
    if status:
        raise SystemExit("\n".join(text for _, text in moments.said) + f"\nstatus {status}")
    folder = path.parent / "output" / "bench" / "latest"
    record = json.loads((folder / "run.json").read_bytes())
    done = max(one["time"] + one["seconds"] for step in record["steps"] for one in step["invocations"])
    here = (folder / "c" / "c.txt").stat().st_mtime
    submitted = moments.last("submitted as run")
    return {
        "to submission": submitted - ready[-1],
        "  helper pod": sum(waits),
        "  the tool": submitted - ready[-1] - sum(waits),
        "the run": done - submitted,
        "to outputs": here - done,
        "to the end": end - here,
        "in all": end - start,
    }


if __name__ == "__main__":
    raise SystemExit(main())
