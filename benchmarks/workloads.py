"""Graphs of small steps that every tool runs with the very same commands: one file in, one file out."""

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

# Reads a few bytes only, so that the size of the media does not matter to it.
TRIVIAL = """import sys
with open(sys.argv[2], "rb") as file:
    head = file.read(8)
with open(sys.argv[4], "wb") as file:
    file.write(sys.argv[4].rpartition("/")[2].encode() + b" after " + head)
"""
BUSY = """import sys
for _ in range({loops}):
    pass
with open(sys.argv[4], "w") as file:
    file.write(sys.argv[4].rpartition("/")[2])
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One step: its program, and the tasks that it comes after (none: the media)."""

    name: str
    program: Path
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A graph of tasks in a folder; media is what those without parents read."""

    folder: Path
    media: Path
    tasks: tuple[Task, ...]
    interpreter: tuple[str, ...]  # the command, up to the program

    def command(self, task: Task, out: Path) -> list[str]:
        """Return what a task runs, its input and output in the folder out."""
        source = out / task.parents[0] if task.parents else self.media
        return [*self.interpreter, str(task.program), "-i", str(source), "-o", str(out / task.name)]

    def inputs(self, task: Task, out: Path) -> list[Path]:
        """Return all files that a task waits for."""
        return [out / parent for parent in task.parents] or [self.media]


def make_chain(folder: Path, interpreter: tuple[str, ...], *, length: int, media_size: int = 0) -> Workload:
    """Write tasks one after the other that do next to nothing; media_size in bytes, a sparse file."""
    names = [f"s{number:04}" for number in range(length)]
    parents = [(), *((name,) for name in names)]
    return _make(folder, interpreter, dict(zip(names, parents, strict=False)), TRIVIAL, media_size)


def make_wide(folder: Path, interpreter: tuple[str, ...], *, width: int, seconds: float) -> Workload:
    """Write independent tasks that keep one core busy for about so many seconds each."""
    script = BUSY.format(loops=int(seconds * _loops_a_second()))
    return _make(folder, interpreter, {f"w{number:04}": () for number in range(width)}, script)


def make_graph(folder: Path, interpreter: tuple[str, ...], *, size: int) -> Workload:
    """Write tasks of which each comes after one to three of the twenty before it."""
    chance = random.Random(1)
    names = [f"g{number:04}" for number in range(size)]
    parents: dict[str, tuple[str, ...]] = {}
    for number, name in enumerate(names):
        near = names[max(0, number - 20) : number]
        parents[name] = tuple(chance.sample(near, min(len(near), chance.randint(1, 3))))
    return _make(folder, interpreter, parents, TRIVIAL)


def _make(
    folder: Path, interpreter: tuple[str, ...], parents: dict[str, tuple[str, ...]], script: str, media_size: int = 0
) -> Workload:
    tasks = []
    for name in parents:
        program = folder / "components" / name / "main.py"
        program.parent.mkdir(parents=True)
        program.write_text(script)
        tasks.append(Task(name=name, program=program, parents=parents[name]))
    media = folder / "media.bin"
    media.write_bytes(b"media")
    os.truncate(media, max(media_size, 5))
    return Workload(folder=folder, media=media, tasks=tuple(tasks), interpreter=interpreter)


def _loops_a_second() -> float:
    code = compile("for _ in range(1_000_000):\n    pass", "loop", "exec")
    seconds = []
    for _ in range(9):
        started = time.thread_time()
        exec(code, {})
        seconds.append(time.thread_time() - started)
    return 1_000_000 / min(seconds)
