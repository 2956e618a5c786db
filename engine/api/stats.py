"""`/containers/{name}/stats`, in the shape of API 1.51 (moby, api/types/container/stats.go)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from dosirak.engine.api import reply, times
from dosirak.engine.api.router import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.containers import Container
    from dosirak.engine.containers.stats import Sample
    from dosirak.engine.runtime.cgroups.statistics import Cpu, Device, Memory

_NO_CPU = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
_BLOCK_IO = (
    *("io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive", "io_service_time_recursive"),
    *("io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive"),
)
# What Docker takes of memory.stat, on v1 and on v2.
_MEMORY_V1 = (
    *("cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pgpgin", "pgpgout", "pgfault", "pgmajfault"),
    *("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"),
)
_MEMORY_V2 = (
    *("anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback"),
    *("anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable", "slab_reclaimable"),
    *("slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault", "workingset_activate"),
    *("workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate", "pgdeactivate", "pglazyfree"),
    *("pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc"),
)


async def stats(call: Call) -> StreamResponse:
    """`GET /containers/{name}/stats`."""
    containers = call.rooms.containers
    container = containers.get(call.vars["name"])
    if call.flag("stream", default=True):
        return await _stream(call, container)
    before = None
    sample = containers.stats.sample(container.id)
    if sample is not None and not (call.version >= (1, 41) and call.flag("one-shot")):
        # A percentage takes two.
        await asyncio.sleep(1.0)
        before, sample = sample, containers.stats.sample(container.id)
    return reply.json(document(container, sample, before))


async def _stream(call: Call, container: Container) -> StreamResponse:
    response = await reply.stream(call)
    before: Sample | None = None
    async with aclosing(call.rooms.containers.stats.follow(container.id)) as samples:
        async for sample in samples:
            await response.write(reply.encode(document(container, sample, before)))
            before = sample
    return response


def document(container: Container, sample: Sample | None, before: Sample | None) -> dict[str, Any]:
    """A sample, with the one before it, as Docker shows them; one without figures when the container doesn't run."""
    shown: dict[str, Any] = {
        "name": f"/{container.name}",
        "id": container.id,
        "read": times.rfc3339_ns(sample.read_ns) if sample else times.NEVER,
        "preread": times.rfc3339_ns(before.read_ns) if before else times.NEVER,
        "pids_stats": {},
        "blkio_stats": dict.fromkeys(_BLOCK_IO),
        "num_procs": 0,  # Windows' own
        "storage_stats": {},
        "cpu_stats": _cpu(sample) if sample else _NO_CPU,
        "precpu_stats": _cpu(before) if before else _NO_CPU,
        "memory_stats": {},
    }
    if sample is None:
        return shown
    figures = sample.figures
    shown["pids_stats"] = _filled(current=figures.pids, limit=figures.pids_limit)
    shown["memory_stats"] = _memory(figures.memory, sample.memory_limit)
    shown["blkio_stats"] |= _block_io(figures.io_bytes, figures.io_operations)
    if sample.interfaces:
        # Their fields' names are Docker's.
        shown["networks"] = {name: msgspec.to_builtins(found) for name, found in sample.interfaces.items()}
    return shown


def _filled(**values: Any) -> dict[str, Any]:
    """Go's omitempty."""
    return {name: value for name, value in values.items() if value}


def _cpu(sample: Sample) -> dict[str, Any]:
    cpu: Cpu = sample.figures.cpu
    return {
        "cpu_usage": {
            "total_usage": cpu.total,
            **_filled(percpu_usage=cpu.each),
            "usage_in_kernelmode": cpu.kernel,
            "usage_in_usermode": cpu.user,
        },
        "system_cpu_usage": sample.system_cpu,
        "online_cpus": sample.cpus,
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled,
        },
    }


def _memory(memory: Memory, limit: int) -> dict[str, Any]:
    detail = memory.detail
    if "hierarchical_memory_limit" in detail:
        names = [*_MEMORY_V1, "hierarchical_memory_limit", *(f"total_{name}" for name in _MEMORY_V1)]
        kept = {name: detail.get(name, 0) for name in names}
        kept["hierarchical_memsw_limit"] = detail.get("hierarchical_memsw_limit", 0)
    else:
        kept = {name: _of(detail, name) for name in _MEMORY_V2}
    return {**_filled(usage=memory.usage, max_usage=memory.highest), "stats": kept} | _filled(
        failcnt=memory.failures, limit=limit
    )


def _of(detail: dict[str, int], name: str) -> int:
    """A figure that newer kernels tell apart by kind of page is their sum."""
    found = detail.get(name)
    return detail.get(f"{name}_anon", 0) + detail.get(f"{name}_file", 0) if found is None else found


def _block_io(counts: Sequence[Device], operations: Sequence[Device] | None) -> dict[str, Any]:
    if operations is None:  # v2: Docker leaves what it has not null, and bytes too where there are none
        return {"io_service_bytes_recursive": _entries(counts) or None}
    empty: dict[str, Any] = {name: [] for name in _BLOCK_IO}
    return empty | {"io_service_bytes_recursive": _entries(counts), "io_serviced_recursive": _entries(operations)}


def _entries(counts: Sequence[Device]) -> list[dict[str, Any]]:
    return [{"major": at.major, "minor": at.minor, "op": at.kind, "value": at.count} for at in counts]


ROUTES = (Route("GET", "/containers/{name}/stats", stats, watches=True),)
