"""What a cgroup has used so far, read from its files. The service's: a monitor does not import it.

Which figures there are is what Docker reports of each version (moby, daemon/stats_unix.go; containerd/cgroups).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import files, v1

_TICK = 10**9 // os.sysconf("SC_CLK_TCK")
UNLIMITED = 2**64 - 1
"""v2's "max"."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Nanoseconds, and how many periods of a quota there were and were cut short. `each`: by processor, v1 only."""

    total: int
    kernel: int
    user: int
    each: list[int] = field(default_factory=list)
    periods: int = 0
    throttled_periods: int = 0
    throttled: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `detail`: of memory.stat; `highest`: v1 only; `failures`: how often the limit was hit (v1), OOM was met
    (v2)."""

    usage: int
    limit: int
    detail: dict[str, int]
    highest: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A count of one kind of access to a block device: "Read", "Write", "Sync" … on v1, "read" and "write" on v2."""

    major: int
    minor: int
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it. `pids_limit` is 0 (v1) or `UNLIMITED` (v2) without one; `io_operations` is None on v2."""

    cpu: Cpu
    memory: Memory
    pids: int
    pids_limit: int
    io_bytes: list[Device]
    io_operations: list[Device] | None = None


def read(path: str) -> Figures:
    """The figures of a cgroup, those below it included. Raises OSError: it is gone."""
    backend = cgroups.backend()
    if isinstance(backend, v1.Hierarchies):
        return _read_v1(backend.mounts, path)
    return _read_v2(f"{backend.root}/{path}")


def _read_v1(mounts: dict[str, str], path: str) -> Figures:
    def folder(controller: str) -> str:
        return f"{mounts[controller]}/{path}" if controller in mounts else "/nowhere"

    acct, memory, block = folder("cpuacct"), folder("memory"), folder("blkio")
    times, quota = _flat(acct, "cpuacct.stat"), _flat(folder("cpu"), "cpu.stat")
    pids = files.read(folder("pids"), "pids.max").strip()
    return Figures(
        cpu=Cpu(
            total=_number(acct, "cpuacct.usage"),
            kernel=times["system"] * _TICK,
            user=times["user"] * _TICK,
            each=[int(word) for word in files.read(acct, "cpuacct.usage_percpu").split()],
            periods=quota.get("nr_periods", 0),
            throttled_periods=quota.get("nr_throttled", 0),
            throttled=quota.get("throttled_time", 0),
        ),
        memory=Memory(
            usage=_number(memory, "memory.usage_in_bytes"),
            limit=_number(memory, "memory.limit_in_bytes"),
            detail=_flat(memory, "memory.stat"),
            highest=_number(memory, "memory.max_usage_in_bytes"),
            failures=_number(memory, "memory.failcnt"),
        ),
        pids=_number(folder("pids"), "pids.current"),
        pids_limit=0 if pids == "max" else int(pids),
        io_bytes=_devices_v1(block, "blkio.throttle.io_service_bytes_recursive"),
        io_operations=_devices_v1(block, "blkio.throttle.io_serviced_recursive"),
    )


def _devices_v1(directory: str, name: str) -> list[Device]:
    """Lines "8:0 Read 4096"; the last is a total. The throttle files count whatever the disk's scheduler is."""
    found = []
    for line in files.read(directory, name).splitlines():
        words = line.replace(":", " ").split()
        if len(words) == 4:
            found.append(Device(int(words[0]), int(words[1]), words[2], int(words[3])))
    return found


def _read_v2(directory: str) -> Figures:
    """A group that got no controller has none of its files: then its figures are 0, as Docker's are."""
    cpu = _flat(directory, "cpu.stat")
    controllers = files.read(directory, "cgroup.controllers").split()
    return Figures(
        cpu=Cpu(
            total=cpu["usage_usec"] * 1000,
            kernel=cpu["system_usec"] * 1000,
            user=cpu["user_usec"] * 1000,
            periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled=cpu.get("throttled_usec", 0) * 1000,
        ),
        memory=_memory_v2(directory) if "memory" in controllers else Memory(0, 0, {}),
        pids=_number(directory, "pids.current") if "pids" in controllers else 0,
        pids_limit=_number(directory, "pids.max") if "pids" in controllers else 0,
        io_bytes=_devices_v2(directory),
    )


def _memory_v2(directory: str) -> Memory:
    return Memory(
        usage=_number(directory, "memory.current"),
        limit=_number(directory, "memory.max"),
        detail=_flat(directory, "memory.stat"),
        failures=files.field(directory, "memory.events", "oom"),
    )


def _devices_v2(directory: str) -> list[Device]:
    """Lines "8:0 rbytes=4096 wbytes=0 rios=1 …" of io.stat, which a kernel without the controller lacks."""
    try:
        text = files.read(directory, "io.stat")
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        device, *words = line.split()
        major, _, minor = device.partition(":")
        counts = dict(word.split("=", 1) for word in words if "=" in word)
        if "rbytes" in counts:
            found.append(Device(int(major), int(minor), "read", int(counts["rbytes"])))
            found.append(Device(int(major), int(minor), "write", int(counts.get("wbytes", 0))))
    return found


def _number(directory: str, name: str) -> int:
    text = files.read(directory, name).strip()
    return UNLIMITED if text == "max" else int(text)


def _flat(directory: str, name: str) -> dict[str, int]:
    words = files.read(directory, name).split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))
