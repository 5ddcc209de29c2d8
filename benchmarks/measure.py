"""Runs commands in rounds, interleaved, and keeps the time of each."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


class FailedError(Exception):
    """A command did not do what it was to do; the text has its last lines."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One run in seconds: by the clock, and of the processors (user and system, children included)."""

    wall: float
    cpu: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command to be timed; before it is run, prepare is called, and after it check."""

    name: str
    command: Sequence[str]
    folder: Path
    prepare: Callable[[], None] = lambda: None
    check: Callable[[], None] = lambda: None
    prints_seconds: bool = False  # what counts is the number on its standard output, not the whole process

    def run(self) -> Sample:
        """Run it once; raises FailedError."""
        self.prepare()
        log = self.folder / f"{self.name.replace(' ', '-')}.log"
        with log.open("w+b") as out:
            started = time.perf_counter()
            process = subprocess.Popen(self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise FailedError(f"{self.name}: exit status {process.returncode}: {' '.join(self.command)}\n{tail}")
        self.check()
        if self.prints_seconds:
            wall = float(log.read_text().split()[-1])
        return Sample(wall=wall, cpu=usage.ru_utime + usage.ru_stime)


class Timings:
    """The samples of several cases, round by round."""

    def __init__(self) -> None:
        self.samples: dict[str, list[Sample]] = {}

    def wall(self, name: str) -> float:
        """Return the median time of a case by the clock, in seconds."""
        return statistics.median(sample.wall for sample in self.samples[name])

    def cpu(self, name: str) -> float:
        """Return the median time of a case on the processors, in seconds."""
        return statistics.median(sample.cpu for sample in self.samples[name])

    def paired(self, name: str, base: str, figure: Callable[[float, float], float]) -> float:
        """Return the median of a figure over the rounds, of both cases' times in the same round."""
        pairs = zip(self.samples[name], self.samples[base], strict=True)
        return statistics.median(figure(one.wall, other.wall) for one, other in pairs)

    def ratio(self, name: str, base: str) -> float:
        """Return how many times as long a case takes as the base."""
        return self.paired(name, base, lambda one, other: one / other)


def time_cases(cases: Sequence[Case], rounds: int, *, warm: bool = True) -> Timings:
    """Run all cases in each round, A B C, then B C A, ...; warm: once before, uncounted. Raises FailedError."""
    timings = Timings()
    for number in range(-1 if warm else 0, rounds):
        start = number % len(cases)
        for case in (*cases[start:], *cases[:start]):
            sys.stderr.write(f"\r\x1b[K{case.name}, round {number + 1} of {rounds}" if sys.stderr.isatty() else "")
            sample = case.run()
            if number >= 0:
                timings.samples.setdefault(case.name, []).append(sample)
    sys.stderr.write("\r\x1b[K" if sys.stderr.isatty() else "")
    return timings
