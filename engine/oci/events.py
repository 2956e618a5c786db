"""events: what a container uses, as JSON lines in the shape of runc's; and when it ran out of memory."""

from __future__ import annotations

import os
import time

from dosirak.engine.oci import documents, state
from dosirak.engine.oci.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def follow(found: state.State, *, interval: str, once: bool) -> int:
    """Tell it now (`once`), or every interval ("5s", "100ms") until the container has stopped. Raises Failure."""
    from dosirak.engine.runtime import cgroups

    pause = _seconds(interval)
    if found.status() == "stopped":
        raise Failure("container with given ID is not running")
    kills = cgroups.oom_kills(found.cgroup)
    while True:
        if once:
            _tell("stats", found, _stats(found))
            return 0
        time.sleep(pause)
        if found.status() == "stopped":
            return 0
        try:
            _tell("stats", found, _stats(found))
        except OSError:
            return 0  # it has just gone
        if (now := cgroups.oom_kills(found.cgroup)) != kills:
            kills = now
            _tell("oom", found, None)


def _seconds(text: str) -> float:
    for unit, factor in _UNITS.items():
        number = text.removesuffix(unit)
        if number != text:
            try:
                value = float(number) * factor
            except ValueError:
                continue
            if value > 0:
                return value
    raise Failure(f"invalid interval {text!r}: a duration above zero, as 500ms or 5s, is needed")


def _tell(kind: str, found: state.State, data: dict[str, Any] | None) -> None:
    line = {"type": kind, "id": found.id} | ({"data": data} if data is not None else {})
    os.write(1, documents.dumps(line).encode() + b"\n")


def _stats(found: state.State) -> dict[str, Any]:
    from dosirak.engine.runtime.cgroups import statistics

    figures = statistics.read(found.cgroup)
    cpu, memory = figures.cpu, figures.memory
    usage: dict[str, Any] = {"total": cpu.total, "kernel": cpu.kernel, "user": cpu.user}
    if cpu.each:
        usage["percpu"] = cpu.each
    return {
        "cpu": {
            "usage": usage,
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled,
            },
        },
        "memory": {
            "cache": memory.detail.get("cache", memory.detail.get("file", 0)),
            "usage": {
                "limit": memory.limit,
                "usage": memory.usage,
                "max": memory.highest,
                "failcnt": memory.failures,
            },
            "raw": memory.detail,
        },
        "pids": {"current": figures.pids, "limit": figures.pids_limit},
        "blkio": {"ioServiceBytesRecursive": [_device(one) for one in figures.io_bytes]},
    }


def _device(one: Any) -> dict[str, Any]:
    return {"major": one.major, "minor": one.minor, "op": one.kind, "value": one.count}
