"""Stage 3 beside a plain serial loop of `docker build && docker push`, over ten small components.

    python benchmarks/images.py [--rounds N] [--base IMAGE]

Both make the same images from the same Dockerfiles and contexts. Needs an engine and the program docker-registry.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from src.dag import parse_dag
from src.image.context import stream_context
from src.image.recipe import list_members, read_recipe
from src.images import build_images
from src.plan import make_plan
from src.settings import ROOT, Settings, load_settings

COMPONENTS = 10
CASES = ("cold", "one of ten changed", "nothing changed")


class Project:
    """Ten components, and the same as contexts for the docker command."""

    def __init__(self, folder: Path, registry: str, base: str) -> None:
        self.folder = folder
        self.registry = registry
        self.base = base
        self.names = [f"part{number}" for number in range(COMPONENTS)]
        for name in self.names:
            (folder / "components" / name).mkdir(parents=True)
            self.change(name)

    def change(self, name: str) -> None:
        """Give a component another main.py."""
        (self.folder / "components" / name / "main.py").write_text(f"print({secrets.token_hex(8)!r})\n")

    def settings(self, cache: Path) -> Settings:
        environ = {"CACHE_DIR": str(cache), "REGISTRY": self.registry, "BASE_IMAGE": self.base}
        return load_settings(Path(os.devnull), {**environ, "DOCKER_HOST": os.environ.get("DOCKER_HOST", "")})

    def ours(self, cache: Path) -> None:
        """Run stage 3."""
        file = self.folder / "dag.yaml"
        file.write_text(json.dumps({"System": {"name": "bench", "components": self.names, "dependencies": []}}))
        folders = {name: self.folder / "components" / name for name in self.names}
        folders["save-media"] = ROOT / "src" / "save-media"
        build_images(make_plan(parse_dag(file.read_text(), file)), folders, self.settings(cache), push=True)

    def loop(self, cache: Path) -> None:
        """Run the loop; what makes its contexts is not timed."""
        settings = self.settings(cache)
        plan = make_plan(parse_dag((self.folder / "dag.yaml").read_text(), self.folder / "dag.yaml"))
        script = ["set -e"]
        for step in plan.steps:
            name = step.name
            folder = self.folder / "components" / name if name in self.names else ROOT / "src" / name
            recipe = read_recipe(name, folder, step.options, settings, {})
            members, _ = list_members(recipe, {self.base: self.base}, {}, (f"loop={cache.name}", f"part={name}"))
            context = self.folder / f"{name}.tar"
            context.write_bytes(b"".join(stream_context(name, members, lambda: None)))
            tag = f"{self.registry}/loop/{name}:1"
            script += [f"docker build -q -t {tag} - < {context}", f"docker push -q {tag}"]
        self.script = "\n".join(script)

    def run_loop(self) -> None:
        environ = {**os.environ, "DOCKER_BUILDKIT": "0"}
        subprocess.run(["sh", "-c", self.script], env=environ, check=True, capture_output=True)


@contextlib.contextmanager
def run_registry(folder: Path) -> Iterator[str]:
    """Give a registry that is empty."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    config = folder / "registry.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "registry")}}
    config.write_text(
        json.dumps({"version": 0.1, "log": {"level": "error"}, "storage": storage, "http": {"addr": host}})
    )
    with subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(host.partition(":")[2]))):
                    break
                threading.Event().wait(0.05)
            yield host
        finally:
            server.terminate()


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that an act takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def measure(base: str) -> dict[str, tuple[float, float]]:
    """Return seconds of ours and of the loop, by case, of one round."""
    found = {}
    with tempfile.TemporaryDirectory() as place, run_registry(Path(place)) as registry:
        folder = Path(place)
        name = f"{registry}/base:1"  # its layers are there before anything is timed, for both
        subprocess.run(["docker", "tag", base, name], check=True)
        subprocess.run(["docker", "push", "-q", name], check=True, capture_output=True)
        project, cache = Project(folder / "project", registry, name), folder / secrets.token_hex(8)
        for case in CASES:
            if case == "one of ten changed":
                project.change("part3")
            ours = timed(lambda: project.ours(cache))
            project.loop(cache)
            found[case] = (ours, timed(project.run_loop))
        clean(registry)
    return found


def clean(registry: str) -> None:
    """Remove the images of a round; the base image loses the name it was given."""
    subprocess.run(["docker", "rmi", f"{registry}/base:1"], check=True, capture_output=True)
    asked = ["docker", "images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}"]
    listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    ids = {line.split()[1] for line in listed.splitlines() if line.startswith((f"{registry}/loop", f"{registry}/auto"))}
    subprocess.run(["docker", "rmi", "--force", *ids], check=True, capture_output=True)


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--base", default="autopipe-base:bookworm")
    args = parser.parse_args()
    if not shutil.which("docker-registry"):
        parser.error("docker-registry is not installed")
    rounds = [measure(args.base) for _ in range(args.rounds)]
    print(f"stage 3, {COMPONENTS} components and save-media, median of {args.rounds} rounds, seconds")
    print(f"{'':<20}{'ours':>8}{'loop':>8}{'ratio':>8}{'a image':>10}")
    for case in CASES:
        ours, loop = (statistics.median(one[case][side] for one in rounds) for side in (0, 1))
        print(f"{case:<20}{ours:>8.2f}{loop:>8.2f}{ours / loop:>8.2f}{ours / (COMPONENTS + 1):>10.3f}")
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import docker, requests, src.images"], cwd=ROOT, check=True)
    print(f"imports alone       {time.perf_counter() - started:>8.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
