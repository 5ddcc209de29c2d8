"""Target docker beside a bare docker-py loop and kfp.local's DockerRunner: a chain of 10, and 10 side by side.

    python benchmarks/docker_target.py [--rounds N] [--base IMAGE]

All run the same command in the same image; each round makes all ten outputs anew. Times are those of whole processes,
imports included. kfp.local runs one container after the other, whatever the graph.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

if __name__ == "__main__":  # run alone, Python puts this folder on the path; what is imported lies in its parent
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.measure import Case, FailedError, Timings, time_cases
from benchmarks.table import Row, Section, show
from src.dag import load_dag
from src.image.usage import BUILDER, builder_of
from src.images import build_images
from src.plan import make_plan
from src.settings import ROOT, Settings, load_settings
from src.step import cores

COUNT = 10
OURS, BARE, SERIAL, ALL, KFP = "autopipe", "docker-py", "docker-py, one by one", "docker-py, all at once", "kfp.local"

MAIN = "import shutil, sys\nshutil.copyfile(sys.argv[2], sys.argv[4])\n"

LOOP = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import docker

work = json.loads(sys.argv[1])
client = docker.from_env()
volumes = {work["folder"]: {"bind": "/mnt/data", "mode": "rw"}}

def run(pair):
    command = ["python", "main.py", "-i", "/mnt/data/" + pair[0], "-o", "/mnt/data/" + pair[1]]
    container = client.containers.run(work["image"], command, volumes=volumes, user="0:0", detach=True)
    try:
        status = container.wait()["StatusCode"]
        log = container.logs()
        assert status == 0, log
    finally:
        container.remove()

with ThreadPoolExecutor(work["threads"]) as pool:
    list(pool.map(run, work["pairs"]))
"""

LOCAL = """
import json, sys
from kfp import dsl, local

work = json.loads(sys.argv[1])
local.init(local.DockerRunner(), pipeline_root=work["folder"] + "/kfp")

@dsl.container_component
def step(previous: str, name: str, done: dsl.OutputPath(str)):
    script = 'python main.py -i "$0" -o "$1" && mkdir -p "$(dirname "$2")" && printf %s "$1" > "$2"'
    return dsl.ContainerSpec(image=work["image"], command=["sh", "-c", script], args=[previous, name, done])

root = work["folder"] + "/kfp/"

@dsl.pipeline
def graph():
    tasks = {}
    for source, made in work["pairs"]:
        before = tasks[source].outputs["done"] if source in tasks else root + source
        tasks[made] = step(previous=before, name=root + made)

graph()
"""


class Bench:
    """Ten components of one content, their image, and what each contender does with them."""

    def __init__(self, folder: Path, base: str, *, chain: bool) -> None:
        self.folder = folder
        self.chain = chain
        self.number = 0
        self.file = folder / "dag.yaml"
        self.data = folder / "data"
        self.names = [f"part{number}" for number in range(COUNT)]
        (folder / "data" / "kfp").mkdir(parents=True)
        (folder / "clip.txt").write_text("media\n")
        for place in (self.data, self.data / "kfp"):
            (place / "clip.txt").write_text("media\n")
            place.chmod(0o777)
        for name in self.names:
            (folder / "components" / name).mkdir(parents=True)
            (folder / "components" / name / "main.py").write_text(MAIN)
        (folder / "env").write_text(f"BASE_IMAGE={base}\nCACHE_DIR={folder / 'cache'}\n")
        self.change()
        folders = {name: folder / "components" / name for name in self.names}
        folders["save-media"] = ROOT / "src" / "save-media"
        images = build_images(make_plan(load_dag(self.file)), folders, self.settings(), push=False)
        self.image = images["part0"].reference

    def settings(self) -> Settings:
        return load_settings(self.folder / "env", {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "")})

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return (input, output) of each step."""
        sources = ["clip.txt", *self.names[:-1]] if self.chain else ["clip.txt"] * COUNT
        return list(zip(sources, self.names, strict=True))

    def change(self) -> None:
        """Let no result of an earlier round count: another argument, which main.py does not look at."""
        self.number += 1
        edges = [[one, other, 1] for one, other in self.pairs if one != "clip.txt"]
        options = {name: {"args": [str(self.number)]} for name in self.names}
        system = {"name": "bench", "input_media": "clip.txt", "components": self.names, "dependencies": edges}
        self.file.write_text(json.dumps({"System": {**system, "options": options}}))

    def clear(self) -> None:
        for place in (self.data, self.data / "kfp"):
            for name in self.names:
                (place / name).unlink(missing_ok=True)

    def ours(self) -> Case:
        words = ["-i", str(self.file), "--target", "docker", "--env-file", str(self.folder / "env"), "--quiet"]
        output = ["--output", str(self.folder / "output")]
        command = [sys.executable, str(ROOT / "autopipe.py"), *words, *output]
        return Case(name=OURS, command=command, folder=self.folder, prepare=self.change, check=self.check_ours)

    def check_ours(self) -> None:
        steps = json.loads((self.folder / "output" / "bench" / "latest" / "run.json").read_text())["steps"]
        ran = [step["ran"] for step in steps if step["step"] != "save-media"]
        if ran != [1] * COUNT:
            raise FailedError(f"{OURS}: ran {ran}")

    def loop(self, name: str, threads: int) -> Case:
        return self._script(name, LOOP, self.data, threads)

    def kfp(self) -> Case:
        return self._script(KFP, LOCAL, self.data / "kfp", 1)

    def _script(self, name: str, script: str, made: Path, threads: int) -> Case:
        path = self.folder / f"{name.replace(' ', '-').replace(',', '')}.py"
        path.write_text(script)
        work = {"folder": str(self.data), "image": self.image, "threads": threads, "pairs": self.pairs}

        def check() -> None:
            missing = [one for one in self.names if not (made / one).is_file()]
            if missing:
                raise FailedError(f"{name}: without {missing}")

        return Case(
            name=name,
            command=[sys.executable, str(path), json.dumps(work)],
            folder=self.folder,
            prepare=self.clear,
            check=check,
        )


@contextlib.contextmanager
def bench(base: str, *, chain: bool) -> Iterator[Bench]:
    """Give a bench; its images are removed at the end."""
    import docker

    with tempfile.TemporaryDirectory(prefix="autopipe-bench-") as folder:
        made = Bench(Path(folder), base, chain=chain)
        try:
            yield made
        finally:
            client = docker.from_env()
            for image in client.api.images(filters={"label": f"{BUILDER}={builder_of(made.settings())}"}):
                client.api.remove_image(image["Id"], force=True)
            client.close()


def section(title: str, timings: Timings, names: Sequence[str]) -> Section:
    """Return the rows of a measure; the first name is the baseline."""
    rows = [
        Row(
            name=name,
            wall=timings.wall(name),
            cpu=timings.cpu(name),
            ratio=timings.ratio(name, names[0]),
            note=f"{timings.wall(name) / COUNT * 1000:.0f} ms a container",
        )
        for name in names
    ]
    return Section(title=title, target="ours <= 1.1 times bare docker-py", rows=rows)


def main() -> int:
    """Measure and print; return 1 when a contender does not do what it shall."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base", default="autopipe-base:bookworm")
    parser.add_argument("--without-kfp", action="store_true", help="leave out kfp.local")
    args = parser.parse_args()
    sections = []
    # As on a user's machine, where compiled modules are kept: those of all contenders, made in the round that warms up.
    compiled = tempfile.TemporaryDirectory(prefix="autopipe-bench-")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = compiled.name
    try:
        with bench(args.base, chain=True) as one:
            cases = [one.loop(BARE, 1), one.ours(), *([] if args.without_kfp else [one.kfp()])]
            timings = time_cases(cases, args.rounds)
            sections.append(section(f"chain of {COUNT}", timings, [case.name for case in cases]))
        with bench(args.base, chain=False) as one:
            cases = [one.loop(BARE, cores()), one.loop(ALL, COUNT), one.loop(SERIAL, 1), one.ours()]
            cases += [] if args.without_kfp else [one.kfp()]
            timings = time_cases(cases, args.rounds)
            sections.append(section(f"{COUNT} wide, {cores()} at once", timings, [case.name for case in cases]))
    except FailedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        compiled.cleanup()
    sys.stdout.write(show(sections))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
