"""What `update` makes of a container's limits: Docker's rules, in Docker's words. Pure.

Source: moby, daemon/container/container_unix.go, UpdateContainer.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dosirak.engine.containers.documents import HostConfig, Resources, RestartPolicy
from dosirak.engine.containers.limits import oci
from dosirak.engine.errors import Conflict

# What changes while the container is there; 0, "" and null leave things as they are.
_CHANGEABLE = frozenset(
    (
        *("memory", "memory_swap", "memory_reservation", "memory_swappiness", "oom_kill_disable"),
        *("nano_cpus", "cpu_shares", "cpu_period", "cpu_quota", "cpuset_cpus", "cpuset_mems", "pids_limit"),
        *("blkio_weight", "blkio_weight_device", "blkio_device_read_bps", "blkio_device_write_bps"),
        *("blkio_device_read_iops", "blkio_device_write_iops"),
    )
)
_DEVICES = (
    "weightDevice",
    *("throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice"),
)
# A cgroup's values when nothing was ever asked (runtime-spec names).
_UNLIMITED: dict[str, dict[str, Any]] = {
    "memory": {"limit": -1, "swap": -1, "reservation": -1, "disableOOMKiller": False},
    "cpu": {"shares": 1024, "quota": -1, "period": 100_000},
    "pids": {"limit": -1},
    "blockIO": {"weight": 100},
}


def asked(limits: Resources) -> set[str]:
    """The fields that say something."""
    empty = Resources()
    return {
        name
        for name in Resources.__struct_fields__
        if (value := getattr(limits, name)) != getattr(empty, name) and (value != [] or name in _CHANGEABLE)
    }


def discarded(limits: Resources) -> list[str]:
    """A warning for each field that only `create` can set."""
    return [
        f"{Resources.__struct_encode_fields__[Resources.__struct_fields__.index(name)]} can be set only when the"
        " container is created. Discarded."
        for name in sorted(asked(limits) - _CHANGEABLE)
    ]


def apply(host: HostConfig, limits: Resources, restart: RestartPolicy | None = None) -> HostConfig:
    """The container's configuration after an update. Raises Conflict."""
    wanted = {name: getattr(limits, name) for name in asked(limits) & _CHANGEABLE}
    for mine, other, words in (
        ("nano_cpus", "cpu_period", "Nano CPUs cannot be updated as CPU Period has already been set"),
        ("nano_cpus", "cpu_quota", "Nano CPUs cannot be updated as CPU Quota has already been set"),
        ("cpu_period", "nano_cpus", "CPU Period cannot be updated as NanoCPUs has already been set"),
        ("cpu_quota", "nano_cpus", "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ):
        if wanted.get(mine, 0) > 0 and getattr(host, other) > 0:
            raise Conflict(f"Conflicting options: {words}")
    if limits.memory > host.memory_swap and limits.memory and not limits.memory_swap:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    if restart is not None and restart.name:
        if host.auto_remove and restart.name != "no":
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        wanted["restart_policy"] = restart
    return msgspec.structs.replace(host, **wanted)


def resources(before: HostConfig, after: HostConfig) -> dict[str, Any]:
    """`linux.resources` that brings a cgroup from one configuration to the other; {} when nothing differs.

    Whole groups of values, since the kernel knows them together: memory with swap, a quota with its period. What only
    `before` limits is lifted. Raises InvalidRequest for a device that isn't there.
    """
    old, new = oci.to_oci(before), oci.to_oci(after)
    found: dict[str, Any] = {}
    for kind in old.keys() | new.keys():
        was, wanted = old.get(kind, {}), new.get(kind, {})
        if was == wanted:
            continue
        lifted = {key: _UNLIMITED[kind][key] for key in was.keys() - wanted.keys() if key in _UNLIMITED[kind]}
        found[kind] = lifted | wanted
        for key in _DEVICES:
            if gone := _gone(was.get(key, []), wanted.get(key, [])):
                found[kind][key] = [*gone, *wanted.get(key, [])]
    return found


def _gone(was: list[dict[str, int]], wanted: list[dict[str, int]]) -> list[dict[str, int]]:
    """Devices whose limit is no more, with a zero: that is how the kernel takes it away."""
    kept = {(entry["major"], entry["minor"]) for entry in wanted}
    return [
        {key: value if key in ("major", "minor") else 0 for key, value in entry.items()}
        for entry in was
        if (entry["major"], entry["minor"]) not in kept
    ]
