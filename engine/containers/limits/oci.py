"""Docker's Resources as `linux.resources` of the OCI runtime document."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dosirak.engine.containers.documents import Resources, ThrottleDevice
from dosirak.engine.errors import InvalidRequest


def to_oci(limits: Resources) -> dict[str, Any]:
    """`linux.resources`, with only what is asked. Raises InvalidRequest for a device that isn't there."""
    found = {
        "memory": _memory(limits),
        "cpu": _cpu(limits),
        "pids": {} if limits.pids_limit is None else {"limit": limits.pids_limit if limits.pids_limit > 0 else -1},
        "blockIO": _block_io(limits),
    }
    return {name: value for name, value in found.items() if value}


def _memory(limits: Resources) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if limits.memory > 0:
        found["limit"] = limits.memory
    if limits.memory_reservation > 0:
        found["reservation"] = limits.memory_reservation
    if limits.memory_swap > 0 or (limits.memory_swap < 0 and limits.memory > 0):
        found["swap"] = limits.memory_swap
    if limits.memory_swappiness is not None:
        found["swappiness"] = limits.memory_swappiness
    if limits.oom_kill_disable:
        found["disableOOMKiller"] = True
    return found


def _cpu(limits: Resources) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if limits.cpu_shares:
        found["shares"] = limits.cpu_shares
    if limits.nano_cpus > 0:
        found |= {"period": 100_000, "quota": limits.nano_cpus * 100_000 // 10**9}
    if limits.cpu_period:
        found["period"] = limits.cpu_period
    if limits.cpu_quota:
        found["quota"] = limits.cpu_quota
    if limits.cpuset_cpus:
        found["cpus"] = limits.cpuset_cpus
    if limits.cpuset_mems:
        found["mems"] = limits.cpuset_mems
    return found


def _block_io(limits: Resources) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if limits.blkio_weight:
        found["weight"] = limits.blkio_weight
    if limits.blkio_weight_device:
        found["weightDevice"] = [{**_numbers(of.path), "weight": of.weight} for of in limits.blkio_weight_device]
    for name, devices in (
        ("throttleReadBpsDevice", limits.blkio_device_read_bps),
        ("throttleWriteBpsDevice", limits.blkio_device_write_bps),
        ("throttleReadIOPSDevice", limits.blkio_device_read_iops),
        ("throttleWriteIOPSDevice", limits.blkio_device_write_iops),
    ):
        if devices:
            found[name] = _throttles(devices)
    return found


def _throttles(devices: Sequence[ThrottleDevice]) -> list[dict[str, int]]:
    return [{**_numbers(device.path), "rate": device.rate} for device in devices]


def _numbers(path: str) -> dict[str, int]:
    try:
        number = Path(path).stat().st_rdev
    except (OSError, ValueError) as error:
        reason = os.strerror(getattr(error, "errno", 0) or errno.EINVAL).lower()
        raise InvalidRequest(f"stat {path}: {reason}") from error
    return {"major": os.major(number), "minor": os.minor(number)}
