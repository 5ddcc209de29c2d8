"""What an engine is like, as far as containers that write to a user's folder must know; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Traits:
    """How to ask this engine for a container whose files on the volume belong to the user who runs the tool."""

    user: str  # uid:gid inside
    cpus: int
    memory: int  # bytes
    own_users: bool  # the container's users are mapped to others, which it has to be kept from
    labels_files: bool  # SELinux
    limits_memory: bool
    limits_swap: bool
    limits_cpu: bool


def read_traits(info: Mapping[str, Any], uid: int, gid: int) -> Traits:
    """Read an engine's answer to `info`; uid and gid are those of the user who runs the tool."""
    options = {str(option).partition(",")[0] for option in info.get("SecurityOptions") or ()}
    return Traits(
        # Without rights of its own, an engine maps its root to the user it belongs to, and all others to nobody's.
        user="0:0" if "name=rootless" in options else f"{uid}:{gid}",
        cpus=max(1, int(info.get("NCPU") or 1)),
        memory=int(info.get("MemTotal") or 0),
        own_users="name=userns" in options,
        labels_files="name=selinux" in options,
        limits_memory=bool(info.get("MemoryLimit", True)),
        limits_swap=bool(info.get("SwapLimit", True)),
        limits_cpu=bool(info.get("CpuCfsQuota", True)),
    )
