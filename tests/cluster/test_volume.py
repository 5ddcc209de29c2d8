"""The volume on a real cluster: claims, helper pods, files there and back; as each kind of user; when things break."""

import hashlib
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from src import step as launcher
from src.dag import parse_dag
from src.errors import RunError
from src.kube import claim as claim_module
from src.kube.arriving import Wanted
from src.kube.bring import Home, bring_home
from src.kube.claim import (
    CLAIMS,
    delete_claim,
    has_claim,
    keep_claim,
    pods_on,
    use_claim,
)
from src.kube.cluster import Cluster
from src.kube.download import download
from src.kube.ending import end_steps
from src.kube.helper import Helper, open_helper
from src.kube.labels import CLAIM, EXPIRY, STATE, expiry_label, label_value
from src.kube.leftovers import list_leftovers, remove_expired
from src.kube.lines import RefusedError
from src.kube.patience import StoppedError
from src.kube.placement import Placement
from src.kube.prepare import prepare
from src.kube.refusal import ApiError
from src.kube.streams import PIECE, STREAMS
from src.kube.tidings import Growth
from src.kube.upload import Sending, upload
from src.media import save_media
from src.plan import make_plan, plan_document
from src.record import PRIVATE, prepare_volume
from src.store import Store
from tests.cluster.cutter import through_cutter
from tests.cluster.standin import NAMESPACE, until, variable
from tests.cluster.volumes import DOORS, ROOT, USERS, Place, build_image, cluster_of, kubectl, namespace_of, place_of

STEP = ["python3", "/mnt/data/.autopipe/step.py"]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_image(tmp_path_factory.mktemp("image"), {"media/clip.bin": b"media of the image"})


@pytest.fixture
def place(tmp_path: Path, image: str) -> Iterator[Place]:
    with place_of(cluster_of("user", tmp_path), tmp_path, image) as place:
        yield place


def send(helper: Helper, folder: Path, size: int, path: str = "big") -> Sending:
    """Take a file of random bytes to the volume."""
    data = secrets.token_bytes(size)
    (folder / "source").write_bytes(data)
    sending = Sending(path=path, source=folder / "source", size=size, sha256=hashlib.sha256(data).hexdigest())
    upload(helper, [sending])
    return sending


def bring(helper: Helper, folder: Path, sent: Sending) -> None:
    """Bring the file back, and compare."""
    wanted = Wanted(path=sent.path, target=folder / "back", size=sent.size, sha256=sent.sha256)
    download(helper, [wanted], folder / "scratch")
    assert (folder / "back").read_bytes() == sent.source.read_bytes()


def document_of(folder: Path, run: str, data: bytes) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return plan.json of a run that saves its media, and where that is."""
    (folder / "clip.bin").write_bytes(data)
    store = Store(folder / "store")
    media = save_media([folder / "clip.bin"], store)
    plan = make_plan(parse_dag("System: {name: d, components: [c], dependencies: []}", folder / "d.yaml"))
    keys = {step.name: step.name for step in plan.steps}
    document = plan_document(plan, run_id=run, keys=keys, sums=keys, media=media, parallel=1)
    return document, {entry["name"]: store.media / entry["sha256"] for entry in media}


@pytest.mark.parametrize("user", USERS)
def test_a_run_goes_to_the_volume_and_comes_home(user: str, tmp_path: Path, image: str) -> None:
    cluster = cluster_of(user, tmp_path)
    data = os.urandom(2 * PIECE + 1)
    document, media = document_of(tmp_path, "run1", data)
    folder = tmp_path / "run1"
    (folder / PRIVATE).mkdir(parents=True)
    prepare_volume(folder)
    with place_of(cluster, tmp_path, image) as place:
        names: list[str] = []
        with open_helper(cluster, place.helper_spec, names.append) as helper:
            assert helper.way == DOORS[user]
            assert names == [helper.pod]
            growth = Growth(helper, {})
            prepare(helper, document, media)
            task = place.run_pod("task", [*STEP, "save-media"])
            assert {path for path, _, _ in growth.read()} == {
                ".autopipe/steps/save-media.jsonl",
                ".autopipe/logs/save-media.log",
            }
            home = Home(folder=folder, scratch=tmp_path / "scratch", known={})
            bring_home(helper, home, document, ["save-media"], strict=True)
        assert (folder / "save-media/clip.bin").read_bytes() == data
        end = launcher.last_attempt(launcher.read_journal(launcher.journal_path(folder, "save-media")))
        assert end[-1]["state"] == "done"
        assert [pod["metadata"]["name"] for pod in pods_on(cluster, place.claim)] in ([task], sorted([task, *names]))
        cluster.delete("pods", task)
        delete_claim(cluster, place.claim)
        assert cluster.get(CLAIMS, place.claim) is None
        assert place.pods() == []


def test_media_in_the_image_goes_from_there(place: Place, tmp_path: Path) -> None:
    document, _ = document_of(tmp_path, "run1", b"media of the image")
    with open_helper(place.cluster, place.helper_spec) as helper:
        prepare(helper, document, None)
        (entry,) = helper.call("sums", paths=[".autopipe/media/clip.bin"])
    assert entry["sha256"] == document["media"][0]["sha256"]


@pytest.mark.parametrize("user", ["user", "pods only"])
def test_a_transfer_goes_on_after_every_cut(user: str, tmp_path: Path, image: str) -> None:
    size = 8 * PIECE
    with through_cutter(Path(variable(USERS[user])), tmp_path) as (cutter, kubeconfig):
        cluster = cluster_of(user, tmp_path, kubeconfig=kubeconfig)
        with place_of(cluster, tmp_path, image) as place, open_helper(cluster, place.helper_spec) as helper:
            sent = send(helper, tmp_path, size)
            before = cutter.received
            cutter.cuts_left, cutter.budget = 3, 10_000_000
            bring(helper, tmp_path, sent)
            assert cutter.cuts == 3
            # A cut costs each stream the piece that it was at, and no more.
            assert cutter.received - before < 1.1 * (size + 3 * STREAMS * PIECE)


def test_a_transfer_waits_for_an_api_server_that_is_away(tmp_path: Path, image: str) -> None:
    with through_cutter(Path(variable(USERS["user"])), tmp_path) as (cutter, kubeconfig):
        cluster = cluster_of("user", tmp_path, kubeconfig=kubeconfig)
        with place_of(cluster, tmp_path, image) as place, open_helper(cluster, place.helper_spec) as helper:
            sent = send(helper, tmp_path, 4 * PIECE)
            cutter.closed = True
            cutter.cut()
            timer = threading.Timer(5.0, setattr, (cutter, "closed", False))
            timer.start()
            start = time.monotonic()
            bring(helper, tmp_path, sent)
            assert time.monotonic() - start > 4.5
            timer.join()


def test_a_stop_ends_a_transfer_that_waits(tmp_path: Path, image: str) -> None:
    with through_cutter(Path(variable(USERS["user"])), tmp_path) as (cutter, kubeconfig):
        cluster, stop = cluster_of("user", tmp_path, kubeconfig=kubeconfig), threading.Event()
        with (
            place_of(cluster_of("user", tmp_path), tmp_path, image) as place,
            open_helper(cluster, place.helper_spec) as helper,
        ):
            sent = send(helper, tmp_path, 4 * PIECE)
            cluster.stop = stop
            cutter.closed = True
            cutter.cut()
            timer = threading.Timer(1.0, stop.set)
            timer.start()
            start = time.monotonic()
            with pytest.raises(StoppedError):
                bring(helper, tmp_path, sent)
            assert time.monotonic() - start < 10
            timer.join()


def test_a_helper_pod_that_is_lost_is_replaced(place: Place, tmp_path: Path) -> None:
    names: list[str] = []
    with open_helper(place.cluster, place.helper_spec, names.append) as helper:
        sent = send(helper, tmp_path, 2 * PIECE)
        place.cluster.delete("pods", helper.pod, grace=0)
        until(lambda: True if place.cluster.get("pods", names[0]) is None else None)
        bring(helper, tmp_path, sent)
        assert len(names) == 2
        assert helper.pod == names[1] != names[0]
    until(lambda: True if not place.pods() else None)


def test_room_that_only_found_the_node_is_given_back(place: Place, tmp_path: Path) -> None:
    spec = replace(place.helper_spec, placement=Placement(cpu=0.5, memory=1 << 28))
    with open_helper(place.cluster, spec) as helper:
        first = helper.pod
        sent = send(helper, tmp_path, 100)
        pod = place.cluster.get("pods", first)
        assert pod is not None
        assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "256Mi"}
        helper.settle()
        pod = place.cluster.get("pods", helper.pod)
        assert pod is not None
        assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "50m", "memory": "64Mi"}
        bring(helper, tmp_path, sent)
        second = helper.pod
        helper.settle()
        assert helper.pod == second != first
        until(lambda: True if place.cluster.get("pods", first) is None else None)


def test_a_volume_that_may_not_be_written_is_told_with_the_way_out(place: Place, tmp_path: Path) -> None:
    place.run_pod("chmod", ["sh", "-c", "chown 0:0 /mnt/data && chmod 755 /mnt/data"], root=True)
    document, media = document_of(tmp_path, "run1", b"x")
    with (
        open_helper(place.cluster, place.helper_spec) as helper,
        pytest.raises(RefusedError, match="cannot be used by user 1000: Permission denied") as caught,
    ):
        prepare(helper, document, media)
    assert "STORAGE_CLASS" in caught.value.hint


STUCK = [
    ({"image": "127.0.0.1:5000/nothing/here:1"}, "is not in its registry", "REGISTRY"),
    ({"image": "127.0.0.1:5000/Bad Name"}, "is no name of an image", "REGISTRY"),
    ({"pull_secret": "no-such", "image": "127.0.0.1:5001/volume-test/none:1"}, "may not pull", "IMAGE_PULL_SECRET"),
    ({"placement": Placement(node_selector={"pool": "gold"})}, "`node_selector`", "--show-labels"),
    ({"claim": "no-such-claim"}, "its claim no-such-claim is gone", "same command"),
]


@pytest.mark.parametrize(("change", "message", "hint"), STUCK)
def test_a_helper_pod_that_cannot_start_says_why_and_goes(
    place: Place, change: dict[str, Any], message: str, hint: str
) -> None:
    start = time.monotonic()
    with pytest.raises(RunError) as caught, open_helper(place.cluster, replace(place.helper_spec, **change)):
        pytest.fail("it started")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert time.monotonic() - start < 60
    until(lambda: True if not place.pods() else None)


def test_a_helper_whose_program_fails_shows_what_it_printed(place: Place, image: str) -> None:
    wrong = replace(place.helper_spec, image="autopipe.test/busybox:1")
    with pytest.raises(RunError, match="has no python3"), open_helper(place.cluster, wrong):
        pytest.fail("it started")


def test_our_pods_run_where_pod_security_is_restricted_and_quotas_are_strict(tmp_path: Path, image: str) -> None:
    name = f"volume-{secrets.token_hex(4)}"
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    with namespace_of(name, **enforce):
        hard = {"requests.cpu": "1", "limits.cpu": "4", "limits.memory": "1Gi", "requests.storage": "2Gi"}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}
        kubectl("-n", name, "create", "-f", "-", document=quota)
        cluster = cluster_of("admin", tmp_path, namespace=name)
        with place_of(cluster, tmp_path, image) as place:
            document, media = document_of(tmp_path, "run1", b"x")
            with open_helper(cluster, place.helper_spec) as helper:
                prepare(helper, document, media)
            large = Place(cluster, tmp_path, image)
            body = claim_module.claim_body(replace(large.claim_spec, size=4 << 30), time.time())
            with pytest.raises(ApiError, match="the quota q of namespace") as caught:
                cluster.create(CLAIMS, body)
            assert "STORAGE_SIZE" in caught.value.hint


def test_a_failed_runs_claim_is_kept_and_the_one_before_it_goes(place: Place, tmp_path: Path, image: str) -> None:
    cluster, origin = place.cluster, place.origin
    assert has_claim(cluster, place.claim)
    keep_claim(cluster, place.claim, origin)
    kept = cluster.get(CLAIMS, place.claim)
    assert kept is not None
    assert kept["metadata"]["labels"][STATE] == "kept"
    other_dag = place_of(cluster, tmp_path / "other", image)
    with place_of(cluster, tmp_path, image) as active, place_of(cluster, tmp_path, image) as second, other_dag as other:
        keep_claim(cluster, other.claim, other.origin)
        keep_claim(cluster, second.claim, origin)
        until(lambda: True if cluster.get(CLAIMS, place.claim) is None else None)
        assert has_claim(cluster, active.claim)
        assert has_claim(cluster, second.claim)
        assert has_claim(cluster, other.claim)
        use_claim(cluster, second.claim, replace(origin, run="run2"))
        used = cluster.get(CLAIMS, second.claim)
        assert used is not None
        assert used["metadata"]["labels"][STATE] == "active"


def test_who_may_not_change_claims_keeps_them_all_the_same(tmp_path: Path, image: str) -> None:
    with place_of(cluster_of("pods only", tmp_path), tmp_path, image) as place:
        keep_claim(place.cluster, place.claim, place.origin)
        use_claim(place.cluster, place.claim, place.origin)
        kept = place.cluster.get(CLAIMS, place.claim)
        assert kept is not None
        assert kept["metadata"]["labels"][EXPIRY] > expiry_label(time.time() + 6 * 86400)


def test_leftovers_are_found_by_their_labels_and_only_the_expired_go(tmp_path: Path, image: str) -> None:
    # In a namespace of its own: whoever cleans up elsewhere meanwhile would remove the expired ones.
    with namespace_of(f"autopipe-leftovers-{secrets.token_hex(4)}") as namespace:
        _find_leftovers(cluster_of("admin", tmp_path, namespace=namespace), tmp_path, image)


def _find_leftovers(cluster: Cluster, folder: Path, image: str) -> None:
    past = expiry_label(time.time() - 60)

    def expire(name: str) -> None:
        kubectl("-n", cluster.namespace, "label", "--overwrite", "pvc", name, f"{EXPIRY}={past}")

    foreign = f"foreign-{secrets.token_hex(4)}"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    labels = {"app.kubernetes.io/managed-by": "kubeflow-autopipe-not"}
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec, "metadata": {"name": foreign}}
    body["metadata"]["labels"] = labels  # type: ignore[index]
    kubectl("-n", cluster.namespace, "create", "-f", "-", document=body)
    places = [place_of(cluster, folder, image) for _ in range(3)]
    with places[0] as place, places[1] as old, places[2] as used:
        expire(foreign)
        expire(old.claim)
        expire(used.claim)
        place.run_pod("ended", ["true"])
        with open_helper(cluster, used.helper_spec) as helper:
            found = list_leftovers(cluster, owner=label_value(place.origin.owner), dag=place.origin.dag_label)
            assert {one.name for one in found} == {place.claim, old.claim, used.claim}
            assert {one.name for one in found if one.in_use} == {used.claim}
            assert {(one.dag, one.file, one.owner) for one in found} == {("volume-test", str(folder), "test@here")}
            assert [one.name for one in remove_expired(cluster, found)] == [old.claim]
            assert cluster.get(CLAIMS, old.claim) is None
            assert cluster.get(CLAIMS, foreign) is not None
            cluster.delete("pods", helper.pod, grace=0)
            cluster.delete(CLAIMS, used.claim)


def test_a_helper_without_its_claim_is_a_leftover_too(place: Place) -> None:
    stray = replace(place.helper_spec, claim="no-such-claim")
    helper = Helper(place.cluster, stray, lambda _: None)
    place.cluster.stop = Stopped()
    with pytest.raises(StoppedError):
        helper.start()
    place.cluster.stop = threading.Event()
    (found,) = [one for one in list_leftovers(place.cluster, dag=place.origin.dag_label) if one.kind == "pods"]
    assert found.name == helper.pod
    assert found.in_use
    helper.stop()


class Stopped:
    """Says stop at once."""

    def wait(self, seconds: float, /) -> bool:
        return True


def test_a_claim_goes_with_the_runs_pods_and_never_with_others(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, run_id = place.cluster, secrets.token_hex(8)
    place.run_pod("a", ["true"], labels={"pipeline/runid": run_id})
    place.run_pod("b", ["true"], labels={CLAIM: place.claim})
    theirs = place.run_pod("theirs", ["true"])
    monkeypatch.setattr(claim_module, "GONE_SECONDS", 1.0)
    with pytest.raises(RunError, match=f"still used by {theirs}$") as caught:
        delete_claim(cluster, place.claim, [run_id])
    assert "kubectl delete pod" in caught.value.hint
    assert [pod["metadata"]["name"] for pod in place.pods()] == [theirs]
    assert not has_claim(cluster, place.claim)  # it is on its way
    cluster.delete("pods", theirs)
    delete_claim(cluster, place.claim)
    assert cluster.get(CLAIMS, place.claim) is None
    delete_claim(cluster, place.claim)  # what is gone is no failure


def test_what_tasks_of_an_earlier_run_still_do_on_a_claim_is_ended(place: Place) -> None:
    cluster, labels = place.cluster, {"pipeline/runid": secrets.token_hex(8)}
    ended = place.run_pod("ended", ["true"], labels=labels)
    writing = place.start_pod("writing", ["sleep", "3600"], labels=labels)
    theirs = place.start_pod("theirs", ["sleep", "3600"])

    end_steps(cluster, place.claim)

    assert cluster.get("pods", writing) is None
    assert {pod["metadata"]["name"] for pod in place.pods()} == {ended, theirs}


def test_the_token_is_nowhere_in_the_cluster(place: Place) -> None:
    with open_helper(place.cluster, place.helper_spec) as helper:
        pod = place.cluster.get("pods", helper.pod)
        assert helper.token not in str(pod)
        target = place.cluster.path("pods", f"{helper.pod}:8765") + "/proxy/file?path=x"
        answer = place.cluster.api_server.send("GET", target, headers={"X-Autopipe-Token": "wrong"})
        assert answer.status == 401
        assert b"wrong token" in answer.data


def test_a_download_is_as_fast_as_curl_and_needs_little_memory(image: str, full: bool) -> None:
    amount = ["--mib", "1024", "--rounds", "5"] if full else ["--mib", "64", "--rounds", "1"]
    command = [sys.executable, "-m", "benchmarks.volume", "--image", image, *amount]
    environ = {**os.environ, "KUBECONFIG": variable("KUBECONFIG"), "KUBE_NAMESPACE": NAMESPACE}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    ratio = {name: float(times) for name, times in re.findall(r"^(curl|kubectl cp) .* ([0-9.]+)x$", done.stdout, re.M)}
    (memory,) = re.findall(r"peak memory .*: ([0-9]+) MiB", done.stdout)
    assert int(memory) < 200
    assert ratio.keys() == {"curl", "kubectl cp"}
    if full:  # a small file's time is that of its requests
        assert ratio["curl"] >= 0.85, done.stdout
        assert ratio["kubectl cp"] >= 3, done.stdout
