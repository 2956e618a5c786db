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


def cpus() -> int:
    """CPUs this engine may use."""
    return len(os.sched_getaffinity(0))


def ipv4_forwarding() -> bool:
    """Whether the host forwards packets."""
    try:
        return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    except OSError:
        return False


def open_files() -> int:
    """Descriptors this process has open."""
    return sum(1 for _ in os.scandir("/proc/self/fd"))
