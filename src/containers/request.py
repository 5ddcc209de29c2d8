"""What is asked of the engine for the container of a task; pure.

The names are those of the Engine API (docs.docker.com, POST /containers/create).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from src.containers.traits import Traits
from src.dag import Options

MOUNT: Final = "/mnt/data"
"""Where a container has the volume."""

LOG_SIZE: Final = "1m"
"""What the engine keeps of a container's output: all of it is in the run's own log."""

SMALLEST_CPU: Final = 0.01

_START = f"import sys; sys.path.append('{MOUNT}/.autopipe'); import step; raise SystemExit(step.main())"
"""Imported, the launcher is compiled by the first container alone; as a script, by each."""


def container_request(
    *,
    image: str,
    volume: Path,
    task: str,
    options: Options,
    traits: Traits,
    environ: Mapping[str, str],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """Return the body of the request.

    image: its id. volume: the run's folder.
    environ: variables beside the image's own. What the user wrote for the component itself is in plan.json.
    """
    return {
        "Image": image,
        # -I, -S: neither the image's PYTHONPATH nor its packages change the launcher; components have both.
        "Entrypoint": ["python3", "-I", "-S", "-c", _START],
        "Cmd": [task],
        "User": traits.user,
        "Env": [f"{name}={value}" for name, value in sorted(environ.items())],
        "Labels": dict(labels),
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "Mounts": [{"Type": "bind", "Source": str(volume), "Target": MOUNT}],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": LOG_SIZE, "max-file": "1"}},
            "Init": False,  # the launcher is the first process: it takes signals, and ends what components leave
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges", *(["label=disable"] if traits.labels_files else [])],
            "UsernsMode": "host" if traits.own_users else "",
            **_limits(options, traits),
        },
    }


def _limits(options: Options, traits: Traits) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    memory = options.memory if traits.limits_memory else None
    if memory is not None:
        # Equal: no swap, so that a limit means the same here as on a cluster.
        limits |= {"Memory": memory, **({"MemorySwap": memory} if traits.limits_swap else {})}
    if options.cpu is not None and traits.limits_cpu:
        limits["NanoCpus"] = round(max(SMALLEST_CPU, min(options.cpu, traits.cpus)) * 1e9)
    if options.gpu:
        limits["DeviceRequests"] = [{"Count": options.gpu, "Capabilities": [["gpu"]]}]
    # Workers of one component share data there; 64 MiB, the engine's default, is too little for many. Counts as memory.
    limits["ShmSize"] = memory or traits.memory // 2 or 1 << 30
    return limits
