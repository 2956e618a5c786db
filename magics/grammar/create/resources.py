"""Limits and devices: `--memory`, `--cpus`, `--device`, `--ulimit`, `--blkio-…`."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from dosirak.magics.grammar.values import parse_size, parse_uint

_DEVICE_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}")


def resources(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the Resources part of HostConfig."""
    swappiness = flags["memory_swappiness"]
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise ValueError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    return {
        "CgroupParent": flags["cgroup_parent"],
        "Memory": flags["memory"],
        "MemoryReservation": flags["memory_reservation"],
        "MemorySwap": flags["memory_swap"],
        "MemorySwappiness": swappiness,
        "OomKillDisable": flags["oom_kill_disable"],
        "NanoCpus": flags["cpus"],
        "CpuCount": 0,
        "CpuPercent": 0,
        "CpuShares": flags["cpu_shares"],
        "CpuPeriod": flags["cpu_period"],
        "CpuQuota": flags["cpu_quota"],
        "CpuRealtimePeriod": flags["cpu_rt_period"],
        "CpuRealtimeRuntime": flags["cpu_rt_runtime"],
        "CpusetCpus": flags["cpuset_cpus"],
        "CpusetMems": flags["cpuset_mems"],
        "PidsLimit": flags["pids_limit"],
        "BlkioWeight": flags["blkio_weight"],
        "BlkioWeightDevice": list(flags["blkio_weight_device"]),
        "BlkioDeviceReadBps": list(flags["device_read_bps"]),
        "BlkioDeviceWriteBps": list(flags["device_write_bps"]),
        "BlkioDeviceReadIOps": list(flags["device_read_iops"]),
        "BlkioDeviceWriteIOps": list(flags["device_write_iops"]),
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "Ulimits": [limit for _, limit in sorted({u["Name"]: u for u in flags["ulimit"]}.items())],
        "DeviceCgroupRules": list(flags["device_cgroup_rule"]) or None,
        "Devices": [parse_device(device) for device in flags["device"]],
        "DeviceRequests": None,
    }


def parse_device(text: str) -> dict[str, str]:
    """Return a DeviceMapping of "/dev/x[:/dev/y][:rwm]"."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"bad format for path: {text}")
    source, target, access = parts[0], "", "rwm"
    if len(parts) == 2:
        target, access = ("", parts[1]) if _is_access(parts[1]) else (posixpath.normpath(parts[1]), access)
    elif len(parts) == 3:
        target, access = parts[1], parts[2]
        if not _is_access(access):
            raise ValueError(f"bad mode specified: {access}")
    if not target:
        source = target = posixpath.normpath(source)
    if not target.startswith("/"):
        raise ValueError(f"{target} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}


def _is_access(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def parse_device_rule(text: str) -> str:
    """Check a cgroup device rule, "c 13:* rwm"."""
    if not _DEVICE_RULE.fullmatch(text):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def parse_weight(text: str) -> int:
    """Return a block IO weight that fits 16 bits."""
    weight = parse_uint(text)
    if weight > 65535:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return weight


def parse_weight_device(text: str) -> dict[str, Any]:
    """Return {"Path", "Weight"} of "/dev/x:500"."""
    path, value = _device_path(text)
    if not re.fullmatch(r"\d+", value) or not (int(value) == 0 or 10 <= int(value) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(value)}


def parse_bytes_device(text: str) -> dict[str, Any]:
    """Return {"Path", "Rate"} of "/dev/x:1mb", bytes a second."""
    path, value = _device_path(text)
    try:
        return {"Path": path, "Rate": parse_size(value)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]."
            " Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None


def parse_operations_device(text: str) -> dict[str, Any]:
    """Return {"Path", "Rate"} of "/dev/x:1000", operations a second."""
    path, value = _device_path(text)
    try:
        return {"Path": path, "Rate": parse_uint(value)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>."
            " Number must be a positive integer"
        ) from None


def _device_path(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value
