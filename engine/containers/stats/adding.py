"""What processes use, added up one by one: for a container without a cgroup, whose kernel counts for nobody.

What has ended by then is not counted, nor are disks; memory is what each has in use, shared pages counted each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dosirak.engine.runtime.cgroups.statistics import Cpu, Figures, Memory

_TICK = 10**9 // os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# /proc/PID/stat from its third field on: utime, stime, cutime, cstime (with those that were waited for), rss
_USER, _KERNEL, _RSS = (11, 13), (12, 14), 21


def add(pids: Iterable[int], machine: int) -> Figures:
    """The figures of these processes. Parameters: `machine`: the memory there is, in bytes."""
    user = kernel = memory = count = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        count += 1
        user += sum(int(fields[field]) for field in _USER)
        kernel += sum(int(fields[field]) for field in _KERNEL)
        memory += int(fields[_RSS]) * _PAGE
    return Figures(
        cpu=Cpu(total=(user + kernel) * _TICK, kernel=kernel * _TICK, user=user * _TICK),
        memory=Memory(usage=memory, limit=machine, detail={}),
        pids=count,
        pids_limit=0,
        io_bytes=[],
    )
