"""Facts about the machine that `version` and `info` report. Read once where they don't change."""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def os_release() -> dict[str, str]:
    """/etc/os-release, os-release(5); {} where there is none."""
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name: value.strip().strip("'\"") for name, _, value in pairs}


@functools.cache
def memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@functools.cache
def seccomp() -> bool:
    """Whether the kernel has seccomp filters (proc(5), /proc/PID/status, "Seccomp")."""
    return "\nSeccomp:" in Path("/proc/self/status").read_text()


def cpus() -> int:
    """CPUs this engine may use."""
    return len(os.sched_getaffinity(0))


@functools.cache
def cgroup_version() -> int:
    """2 on a pure cgroup v2 host, else 1 (legacy or hybrid)."""
    return 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1


def controllers() -> frozenset[str]:
    """The cgroup controllers there are, /proc/cgroups (cgroups(7)) and the v2 root's list."""
    names: set[str] = set()
    try:
        names.update(Path("/sys/fs/cgroup/cgroup.controllers").read_text().split())
    except OSError:
        pass
    try:
        for line in Path("/proc/cgroups").read_text().splitlines()[1:]:
            name, _, _, enabled = line.split("\t")
            if enabled == "1":
                names.add(name)
    except (OSError, ValueError):
        pass
    return frozenset(names)


def ipv4_forwarding() -> bool:
    """Whether the host forwards packets."""
    try:
        return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    except OSError:
        return False


def open_files() -> int:
    """Descriptors this process has open."""
    return sum(1 for _ in os.scandir("/proc/self/fd"))
