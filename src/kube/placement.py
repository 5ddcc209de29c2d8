"""Where the pods of a run can be: what its volume's first pod must ask for, so that all steps can follow; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.errors import ConfigError
from src.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What a pod asks of its node; cpu in processors, memory in bytes."""

    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    cpu: float = 0.0
    memory: int = 0
    gpu: int = 0

    @property
    def is_big(self) -> bool:
        """Whether the pod takes room that a step might need."""
        return bool(self.cpu or self.memory or self.gpu)

    def without_room(self) -> "Placement":
        """Return the same place, asking for no room of its own: the volume has its node by then."""
        return Placement(node_selector=self.node_selector, tolerations=self.tolerations)


def find_placement(plan: Plan, access_mode: str) -> Placement:
    """Return what the pod that is first on the volume asks for: it decides on the node where ReadWriteOnce binds all.

    Raises ConfigError when two steps want different nodes, which one such volume cannot serve. With ReadWriteMany
    steps may go where they like, and so may this pod.
    """
    tolerations: list[Mapping[str, Any]] = []
    for step in plan.steps:
        tolerations += [one for one in step.options.tolerations if one not in tolerations]
    if access_mode != "ReadWriteOnce":
        return Placement(tolerations=tuple(tolerations))
    selector: dict[str, str] = {}
    owners: dict[str, str] = {}
    for step in plan.steps:
        for label, value in step.options.node_selector.items():
            if selector.setdefault(label, value) != value:
                raise ConfigError(
                    f"{owners[label]} and {step.name} want different nodes ({label}: {selector[label]}, {value}), but "
                    "a ReadWriteOnce volume is on one node",
                    hint="give both the same `node_selector`, or ACCESS_MODE=ReadWriteMany, if STORAGE_CLASS can do it",
                )
            owners.setdefault(label, step.name)
    options = [step.options for step in plan.steps]
    return Placement(
        node_selector=selector,
        tolerations=tuple(tolerations),
        cpu=max(one.cpu or 0.0 for one in options),
        memory=max(one.memory or 0 for one in options),
        gpu=max(one.gpu for one in options),
    )
