"""Moves a file from a volume on the cluster: the tool beside curl on the same path, kubectl cp, and a bare exec.

    KUBECONFIG=... python -m benchmarks.volume --image REPOSITORY/save-media:TAG [--mib 1024] [--rounds 5]

All are interleaved: a machine's other work meets them alike. Each way's file is compared with the volume's sum. The
tool's time has the sum in it, which the others do not make. Peak memory is of the process that downloads.
"""

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from src.kube.arriving import Wanted
from src.kube.claim import ClaimSpec, create_claim, delete_claim
from src.kube.cluster import Cluster
from src.kube.door import TOKEN
from src.kube.download import download
from src.kube.helper import Helper, open_helper
from src.kube.kubeconfig import open_cluster
from src.kube.labels import Origin, claim_name
from src.kube.pod import CONTAINER, PORT, HelperSpec
from src.kube.upload import Sending, upload
from src.settings import load_settings
from src.step import sha256_of

PATH = "big"
OURS = "tool"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", required=True, help="the image of save-media, as the cluster pulls it")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    cluster = open_cluster(load_settings(None, os.environ))
    origin = Origin(owner="benchmark", run=time.strftime("%Y%m%d-%H%M%S"), dag="benchmark", file=__file__)
    claim = ClaimSpec(name=claim_name(origin), origin=origin, size=3 << 30, access_mode="ReadWriteOnce")
    create_claim(cluster, claim)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            spec = HelperSpec(claim=claim.name, origin=origin, image=args.image)
            with open_helper(cluster, spec) as helper:
                _measure(cluster, helper, Path(scratch), args.mib << 20, args.rounds)
    finally:
        delete_claim(cluster, claim.name)
    return 0


def _measure(cluster: Cluster, helper: Helper, scratch: Path, size: int, rounds: int) -> None:
    source = scratch / "source"
    sha256 = _make(source, size)
    start = time.perf_counter()
    upload(helper, [Sending(path=PATH, source=source, size=size, sha256=sha256)])
    _say(f"upload: {size / 1e6 / (time.perf_counter() - start):.0f} MB/s")
    source.unlink()
    ways: dict[str, Callable[[Path], None]] = {
        OURS: lambda target: _tool(helper, target, size, sha256),
        "curl": lambda target: _curl(cluster, helper, target),
        "kubectl cp": lambda target: _cp(cluster, helper, target),
    }
    if helper.way == "exec":
        del ways["curl"]  # the user has no right to that path
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            target = scratch / "target"
            start = time.perf_counter()
            try:
                ways[name](target)
            except subprocess.CalledProcessError as error:
                if name == OURS:
                    raise
                _say(f"  {name}: failed: {(error.stderr or b'').decode().strip()}")  # kubectl cp does, now and then
                target.unlink(missing_ok=True)
                continue
            times[name].append(time.perf_counter() - start)
            assert sha256_of(target) == sha256, f"{name} brought another file"
            target.unlink()
            _say(f"  {name}: {size / 1e6 / times[name][-1]:.0f} MB/s")
    peak = _peak_memory()
    median = {name: statistics.median(found) for name, found in times.items() if found}
    _say(f"{'way':<12}{'s':>8}{'MB/s':>8}{'tool is':>10}")
    for name, seconds in median.items():
        _say(f"{name:<12}{seconds:>8.2f}{size / 1e6 / seconds:>8.0f}{seconds / median[OURS]:>9.2f}x")
    _say(f"peak memory of the tool, with all that it imports: {peak:.0f} MiB")


def _peak_memory() -> float:
    """Return the most memory that this process had at a time, in MiB; what its parent had counts in ru_maxrss."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _tool(helper: Helper, target: Path, size: int, sha256: str) -> None:
    download(helper, [Wanted(path=PATH, target=target, size=size, sha256=sha256)], target.parent / "arriving")


def _curl(cluster: Cluster, helper: Helper, target: Path) -> None:
    configuration = cluster.api_server.configuration
    url = f"{cluster.api_server.host}{cluster.path('pods', f'{helper.pod}:{PORT}')}/proxy/file?path={PATH}"
    command = ["curl", "-sSf", "-o", str(target), "--cacert", configuration.ssl_ca_cert, "-K", "-", url]
    if configuration.cert_file:
        command += ["--cert", configuration.cert_file, "--key", configuration.key_file]
    headers = {**cluster.api_server.credentials(), TOKEN: helper.token}
    secrets = "".join(f'header = "{name}: {value}"\n' for name, value in headers.items())
    subprocess.run(command, input=secrets, text=True, check=True)


def _cp(cluster: Cluster, helper: Helper, target: Path) -> None:
    source = f"{cluster.namespace}/{helper.pod}:/mnt/data/{PATH}"
    subprocess.run(["kubectl", "cp", "-c", CONTAINER, source, str(target)], check=True, capture_output=True)


def _make(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size >> 20):
            data = os.urandom(1 << 20)
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if not shutil.which("curl") or not shutil.which("kubectl"):
        raise SystemExit("curl and kubectl are needed to compare with")
    raise SystemExit(main())
