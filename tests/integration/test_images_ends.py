"""Stage 3 ended in the middle, and what is left: nothing of ours after the next start, all that is the user's."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.errors import ImageError
from src.image.usage import hold_images
from tests.integration.engines import (
    BASE,
    BUSYBOX,
    Bench,
    Engine,
    Lines,
    docker,
    inspect,
    label,
    need,
    private_engine,
    snapshot,
    wait_until,
)
from tests.support import ROOT

LONG = f"FROM {BUSYBOX}\nRUN echo begun; for i in 1 2 3 4 5 6 7 8 9; do sleep 100; done\n"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine that may be killed, with images, a container and a volume of the user's."""
    with private_engine(Path(f"/tmp/k{os.getpid()}")) as engine:
        engine.load(BUSYBOX)
        docker(engine.host, "tag", BUSYBOX, "users/own:1")
        docker(engine.host, "volume", "create", "users-volume")
        docker(engine.host, "create", "--name", "users-container", BUSYBOX, "true")
        yield engine


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "bench")


def containers(host: str) -> str:
    return docker(host, "ps", "--all", "--quiet", "--filter", f"label={label()}")


def test_an_engine_that_dies_in_the_middle_of_a_build(bench: Bench, engine: Engine, lines: Lines) -> None:
    before = snapshot(engine.host)
    environ = {"DOCKER_HOST": engine.host}
    bench.tiny = BUSYBOX
    bench.component("part", {"Dockerfile": LONG})
    lines.when("part | begun", lambda: engine.end(signal.SIGKILL))
    with pytest.raises(ImageError) as caught:
        bench.build(environ)
    assert not lines.waiting
    assert "engine" in caught.value.message
    assert caught.value.hint
    with pytest.raises(ImageError, match="no Docker engine answers"):
        bench.build(environ)
    engine.start()
    assert containers(engine.host), "the dead engine left the container of its build"
    bench.component("part", {"Dockerfile": f"FROM {BUSYBOX}\nCOPY main.py /\n"})
    images = bench.build(environ)
    assert containers(engine.host) == ""
    after = snapshot(engine.host)
    assert after["containers"] == before["containers"]
    assert after["volumes"] == before["volumes"]
    assert set(before["images"]) <= set(after["images"])
    named = {line for line in set(after["images"]) - set(before["images"]) if json.loads(line)["Tag"] != "<none>"}
    assert {json.loads(line)["Tag"] for line in named} == {image.key for image in images.values()}


def test_one_failure_ends_the_other_builds(bench: Bench, lines: Lines) -> None:
    bench.component("slow", {"Dockerfile": LONG})
    bench.component("bad", {"Dockerfile": f"FROM {BUSYBOX}\nRUN sleep 1; exit 7\n"})
    with pytest.raises(ImageError, match="component bad"):
        bench.build({"BUILD_JOBS": "4"})
    wait_until(lambda: containers(need("DOCKER_HOST")) == "", "the engine gives up the other build")


def start(bench: Bench, *words: str) -> "subprocess.Popen[bytes]":
    """Start stage 3 in a process of its own."""
    bench.plan  # noqa: B018  # writes the DAG file
    command = [sys.executable, str(ROOT / "docker_build.py"), "-v", "-i", str(bench.folder / "dag.yaml"), *words]
    environ = {**os.environ, "BASE_IMAGE": BASE, "DOCKER_CONFIG": str(bench.folder / "docker")}
    return subprocess.Popen(
        [*command, "--target", "docker", "--env-file", os.devnull],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_build_that_is_ended(bench: Bench, number: int, status: int) -> None:
    bench.component("part", {"Dockerfile": LONG})
    with start(bench) as process:
        assert process.stdout
        for line in process.stdout:
            if b"part | begun" in line:
                process.send_signal(number)
                break
        rest = process.stdout.read()
        assert process.wait(30) == status
    assert b"Traceback" not in rest
    assert rest.count(b"error: interrupted") == (status > 0)
    wait_until(lambda: containers(need("DOCKER_HOST")) == "", "the engine removes what it was building")


def test_killed_at_any_moment(bench: Bench, full: bool) -> None:
    moments = random.Random(4)
    for number in range(30 if full else 4):
        for name in ("a", "b", "c"):
            bench.component(name, {"data": f"{name} {number} {os.getpid()}"})
        with start(bench) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.2, 4.0))
            process.kill()
            process.communicate()
    images = bench.build()
    host = need("DOCKER_HOST")
    wait_until(lambda: containers(host) == "", "no container is left")
    listed = docker(host, "images", "--format", "{{.Tag}}", "--filter", f"label={label()}").split()
    mine = {tag for tag in listed if tag != "<none>"}
    assert {image.key for image in images.values()} <= mine
    for name in ("a", "b", "c"):
        assert docker(host, "run", "--rm", "--network=none", str(images[name].id), "cat", "data").startswith(f"{name} ")


# --- What is removed, and what is not ---


def exists(host: str, name: str | None) -> bool:
    return bool(name and docker(host, "image", "inspect", "--format", "{{.Id}}", name, check=False))


def content(bench: Bench, text: str) -> None:
    bench.component("part", {"Dockerfile": f"FROM {BUSYBOX}\nCOPY data /\n", "data": text})


def test_images_that_nobody_uses_are_removed(bench: Bench, tmp_path: Path) -> None:
    host = need("DOCKER_HOST")
    content(bench, "1")
    first = bench.build()["part"]
    content(bench, "2")
    second = bench.build()["part"]
    assert not exists(host, first.id)
    assert exists(host, second.id)

    # Another DAG uses the second; a kept run the third; a run that is going on the fourth.
    other = Bench(tmp_path / "other")
    content(other, "2")
    assert other.build()["part"].id == second.id
    run = tmp_path / "run"
    run.mkdir()
    content(bench, "3")
    third = bench.build()["part"]
    with hold_images(bench.plan.dag, [third.key], bench.settings(), run=run):
        pass
    content(bench, "4")
    fourth = bench.build()["part"]
    with hold_images(bench.plan.dag, [fourth.key], bench.settings()):
        content(bench, "5")
        bench.build()
        assert all(exists(host, image.id) for image in (second, third, fourth))
    bench.build()
    assert not exists(host, fourth.id)
    run.rmdir()
    (other.folder / "dag.yaml").unlink()
    bench.build()
    assert not exists(host, second.id)
    assert not exists(host, third.id)


def test_what_the_user_made_of_ours_stays(bench: Bench, tmp_path: Path) -> None:
    host = need("DOCKER_HOST")
    content(bench, f"mine {os.getpid()}")
    first = bench.build()["part"]
    (tmp_path / "Dockerfile").write_text(f"FROM {first.reference}\nRUN echo more > /more\n")
    docker(host, "build", "--quiet", "--tag", "autopipe-test/derived:1", str(tmp_path))
    docker(host, "build", "--quiet", str(tmp_path), "--label", "x=y")  # without a name
    nameless = docker(host, "images", "--quiet", "--no-trunc", "--filter", "label=x=y", "--filter", f"label={label()}")
    docker(host, "tag", first.reference, "autopipe-test/copy:1")
    docker(host, "create", "--name", f"autopipe-test-{os.getpid()}", "autopipe-test/derived:1", "true")
    try:
        content(bench, f"other {os.getpid()}")
        second = bench.build()["part"]
        assert second.id != first.id
        assert inspect(host, "autopipe-test/copy:1")["Id"] == first.id
        assert not exists(host, first.reference)
        assert exists(host, "autopipe-test/derived:1")
        assert exists(host, nameless)
        assert docker(host, "ps", "--all", "--quiet", "--filter", f"name=autopipe-test-{os.getpid()}")
        assert "part" not in {name for name, image in bench.find().items() if image.id != second.id}
    finally:
        docker(host, "rm", f"autopipe-test-{os.getpid()}")
        docker(host, "rmi", "--force", "autopipe-test/derived:1", "autopipe-test/copy:1", nameless)


def test_what_a_dead_builder_left_of_a_finished_image_is_removed(bench: Bench) -> None:
    host = need("DOCKER_HOST")
    content(bench, f"left {os.getpid()}")
    image = bench.build()["part"]
    line = f"LABEL autopipe.dag=app autopipe.component=part autopipe.key={image.key}"
    create = ["create", "--log-driver", "none", str(image.id)]
    left = docker(host, *create, "/bin/sh", "-c", "#(nop) ", line).strip()
    run = docker(host, *create, "true").strip()
    try:
        bench.build()
        assert docker(host, "ps", "--all", "--quiet", "--no-trunc", "--filter", f"ancestor={image.id}").split() == [run]
    finally:
        docker(host, "rm", "--force", left, run)


def test_an_image_of_another_cache_is_not_taken(bench: Bench, tmp_path: Path) -> None:
    content(bench, "shared")
    first = bench.build()["part"]
    elsewhere = {"CACHE_DIR": str(tmp_path / "cache")}
    second = bench.build(elsewhere)["part"]
    try:
        assert first.key == second.key
        assert first.id != second.id
        assert bench.build()["part"].id == first.id  # though its name was given to the other
        content(bench, "changed")
        bench.build()
        assert exists(need("DOCKER_HOST"), second.id)
    finally:
        docker(need("DOCKER_HOST"), "rmi", "--force", str(second.id))


def test_a_full_disk_of_the_engine(bench: Bench) -> None:
    bench.tiny = BUSYBOX
    bench.component("part", {"Dockerfile": f"FROM {BUSYBOX}\nRUN dd if=/dev/zero of=/big bs=1M count=400\n"})
    with private_engine(Path(f"/tmp/f{os.getpid()}"), megabytes=64) as engine:
        engine.load(BUSYBOX)
        with pytest.raises(ImageError, match="the engine's disk is full") as caught:
            bench.build({"DOCKER_HOST": engine.host})
    assert "docker system prune" in caught.value.hint
