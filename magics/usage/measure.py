"""Two samples of each container, and the figures Docker's client makes of them (docker/cli, stats_helpers.go)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dosirak.magics.engine import Engine

PAUSE = 0.5
"""Seconds between the two samples that a percentage takes: the kernel counts the host's time in hundredths."""

Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Usage:
    """What one container uses: bytes, those of the network and block devices since its start; `cpu`: percent of one."""

    name: str
    id: str
    asked: str = ""
    cpu: float = 0.0
    memory: int = 0
    limit: int = 0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0
    pids: int = 0

    @property
    def memory_share(self) -> float:
        """Memory in percent of the limit."""
        return self.memory / self.limit * 100 if self.limit else 0.0


def samples(engine: Engine, names: Sequence[str]) -> dict[str, Sample]:
    """One sample of each. Raises DosirakError for a container that is not there."""
    query = {"stream": "0", "one-shot": "1"}
    return {name: engine.get(f"/containers/{name}/stats", query) for name in names}


def measure(engine: Engine, names: Sequence[str]) -> list[Usage]:
    """What each uses now: takes two samples, PAUSE apart."""
    before = samples(engine, names)
    if names:
        time.sleep(PAUSE)
    after = samples(engine, names)
    return [usage(name, after[name], before[name]) for name in names]


def usage(asked: str, sample: Sample, before: Sample | None) -> Usage:
    """The figures of a sample; the percentage of the CPU from the sample before it. Pure."""
    memory = sample.get("memory_stats") or {}
    networks = (sample.get("networks") or {}).values()
    read, written = _block_io(sample)
    return Usage(
        name=str(sample.get("name", "")).lstrip("/"),
        id=str(sample.get("id", "")),
        asked=asked,
        cpu=_cpu(sample, before),
        memory=_memory(memory),
        limit=memory.get("limit", 0),
        received=sum(found["rx_bytes"] for found in networks),
        sent=sum(found["tx_bytes"] for found in networks),
        read=read,
        written=written,
        pids=(sample.get("pids_stats") or {}).get("current", 0),
    )


def _cpu(sample: Sample, before: Sample | None) -> float:
    now = sample.get("cpu_stats") or {}
    # An older engine has taken two samples itself.
    then = sample.get("precpu_stats") or {}
    if not then.get("system_cpu_usage") and before is not None:
        then = before.get("cpu_stats") or {}
    used = _total(now) - _total(then)
    system = now.get("system_cpu_usage", 0) - then.get("system_cpu_usage", 0)
    cpus = now.get("online_cpus") or len(now.get("cpu_usage", {}).get("percpu_usage") or [])
    return used / system * cpus * 100 if used > 0 and system > 0 else 0.0


def _total(cpu: Mapping[str, Any]) -> int:
    return int((cpu.get("cpu_usage") or {}).get("total_usage", 0))


def _memory(memory: Mapping[str, Any]) -> int:
    """Without cache that the kernel can drop."""
    detail, used = memory.get("stats") or {}, int(memory.get("usage", 0))
    cache = int(detail.get("total_inactive_file", detail.get("inactive_file", 0)))
    return used - cache if cache < used else used


def _block_io(sample: Sample) -> tuple[int, int]:
    read = written = 0
    for entry in (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []:
        kind = entry.get("op", "")[:1].lower()
        read += entry["value"] if kind == "r" else 0
        written += entry["value"] if kind == "w" else 0
    return read, written
