"""Taking a sample from the host's files; parsing is pure."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from dosirak.engine.containers.stats import adding
from dosirak.engine.containers.stats.model import Interface, Sample
from dosirak.engine.runtime.cgroups import statistics
from dosirak.engine.runtime.cgroups.statistics import Figures

_TICK = 10**9 // os.sysconf("SC_CLK_TCK")
_MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def take(path: str, pid: int, *, network: bool) -> Sample:
    """One sample.

    Parameters: `path`: the cgroup; `pid`: a process in it; `network`: whether that process's network is its own.
    Raises OSError: it has ended.
    """
    return _with(statistics.read(path), pid, network=network)


def add(pids: Iterable[int], pid: int, *, network: bool) -> Sample:
    """As `take`, of a container without a cgroup, which has these processes."""
    return _with(adding.add(pids, _MACHINE), pid, network=network)


def _with(figures: Figures, pid: int, *, network: bool) -> Sample:
    # Close to the figures: a percentage is made of the two.
    system, cpus = parse_stat(Path("/proc/stat").read_text())
    return Sample(
        read_ns=time.time_ns(),
        figures=figures,
        memory_limit=min(figures.memory.limit, _MACHINE),
        system_cpu=system,
        cpus=cpus,
        interfaces=parse_net_dev(Path(f"/proc/{pid}/net/dev").read_text()) if network and pid else {},
    )


def parse_stat(text: str) -> tuple[int, int]:
    """Nanoseconds of all processors, and their number (proc_stat(5))."""
    total = cpus = 0
    for line in text.splitlines():
        name, *words = line.split()
        if name == "cpu":
            total = sum(map(int, words[:7])) * _TICK  # up to softirq: guests' time is in user time already
        elif name.startswith("cpu"):
            cpus += 1
        else:
            break
    return total, cpus


def parse_net_dev(text: str) -> dict[str, Interface]:
    """The interfaces but loopback (proc_pid_net(5))."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, counts = line.partition(":")
        numbers = [int(word) for word in counts.split()]
        if (name := name.strip()) != "lo":
            found[name] = Interface(*numbers[:4], *numbers[8:12])
    return found
