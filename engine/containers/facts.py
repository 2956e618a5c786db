"""What this host can do with containers: looked up once, when the service starts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from dosirak.engine.containers import security
from dosirak.engine.containers.resources import HostFacts
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import v1


@dataclass(frozen=True, slots=True)
class Facts:
    """The host: its cgroups, the capabilities the engine holds, whether it has AppArmor and seccomp filters."""

    limits: HostFacts = field(default_factory=HostFacts)
    capabilities: tuple[str, ...] = ()
    apparmor: bool = False
    seccomp: bool = True


def find() -> Facts:
    """Look at the host."""
    backend = cgroups.backend()
    limits = _v1(backend.mounts) if isinstance(backend, v1.Hierarchies) else _v2(backend.root)
    return Facts(
        limits,
        security.available_capabilities(),
        apparmor=_read("/sys/module/apparmor/parameters/enabled") == "Y",
        seccomp="\nSeccomp:" in _read("/proc/self/status"),
    )


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
        blkio_weight=has("blkio", "blkio.weight"),
        blkio_throttle=has("blkio", "blkio.throttle.read_bps_device"),
        cpu_count=os.cpu_count() or 1,
        **_cpus(),
    )


def _v2(root: str) -> HostFacts:
    controllers = set(_read(f"{root}/cgroup.controllers").split())
    # The root group has no limits of its own: look into any other one.
    group = next((path.parent for path in Path(root).glob("*/cgroup.procs")), Path(root))
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
        blkio_weight=(group / "io.weight").exists(),
        blkio_throttle="io" in controllers,
        cpu_count=os.cpu_count() or 1,
        **_cpus(),
    )
