"""What this host's cgroups can limit."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import v1, v2


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the host's cgroups can do. `driver`: "none" where this user has been given none; `cpus` and `mems`: the
    online ones ("0-3")."""

    version: str = "2"
    driver: str = "cgroupfs"
    memory: bool = True
    swap: bool = True
    swappiness: bool = True
    reservation: bool = True
    oom_kill_disable: bool = False
    pids: bool = True
    cpu_shares: bool = True
    cpu_quota: bool = True
    cpuset: bool = True
    blkio_weight: bool = True
    blkio_weight_device: bool = True
    blkio_throttle: bool = True
    cpu_count: int = 1
    cpus: str = "0"
    mems: str = "0"


def find() -> HostFacts:
    """Look at the host. Raises OSError."""
    backend = cgroups.backend()
    if isinstance(backend, v1.Hierarchies):
        return replace(_v1(backend.mounts), driver="cgroupfs" if backend.mounts else "none")
    return _v2(backend)


def _read(path: str, default: str = "") -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return default


def _cpus() -> dict[str, str]:
    return {
        "cpus": _read("/sys/devices/system/cpu/online", "0"),
        "mems": _read("/sys/devices/system/node/online", "0"),
    }


def _v1(mounts: dict[str, str]) -> HostFacts:
    def has(controller: str, name: str) -> bool:
        return controller in mounts and Path(f"{mounts[controller]}/{name}").exists()

    # BFQ's own weights are in every group but the root, its counters in the root too.
    weighs = has("blkio", "blkio.bfq.io_service_bytes")
    return HostFacts(
        version="1",
        memory=has("memory", "memory.limit_in_bytes"),
        swap=has("memory", "memory.memsw.limit_in_bytes"),
        swappiness=has("memory", "memory.swappiness"),
        reservation=has("memory", "memory.soft_limit_in_bytes"),
        oom_kill_disable=has("memory", "memory.oom_control"),
        pids="pids" in mounts,
        cpu_shares=has("cpu", "cpu.shares"),
        cpu_quota=has("cpu", "cpu.cfs_quota_us"),
        cpuset=has("cpuset", "cpuset.cpus"),
        blkio_weight=weighs or has("blkio", "blkio.weight"),
        blkio_weight_device=weighs or has("blkio", "blkio.weight_device"),
        blkio_throttle=has("blkio", "blkio.throttle.read_bps_device"),
        cpu_count=os.cpu_count() or 1,
        **_cpus(),
    )


def _v2(host: v2.Hierarchy) -> HostFacts:
    group = _inner_group(host)
    # What groups below it get. The root may have more, and may not be allowed to hand it down.
    controllers = set(_read(f"{group}/cgroup.subtree_control").split())
    weighs = any((group / name).exists() for name in ("io.weight", "io.bfq.weight"))
    return HostFacts(
        version="2",
        memory="memory" in controllers,
        swap="memory" in controllers and (group / "memory.swap.max").exists(),
        swappiness=False,
        reservation="memory" in controllers,
        oom_kill_disable=False,
        pids="pids" in controllers,
        cpu_shares="cpu" in controllers,
        cpu_quota="cpu" in controllers,
        cpuset="cpuset" in controllers,
        blkio_weight=weighs,
        blkio_weight_device=weighs,
        blkio_throttle="io" in controllers,
        cpu_count=os.cpu_count() or 1,
        **_cpus(),
    )


def _inner_group(host: v2.Hierarchy) -> Path:
    """A group with all its files: the root has none for limits. Ours, or any other where we may make none."""
    try:
        host.make_parents(cgroups.parent())
        return Path(host.root, cgroups.parent())
    except OSError:
        return next((path.parent for path in Path(host.root).glob("*/cgroup.procs")), Path(host.root))
