"""`/containers/{name}/update`, `/pause`, `/unpause`, and what `/info` tells of the host's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dosirak.engine.api import reply
from dosirak.engine.api.router import Route
from dosirak.engine.containers import UpdateRequest, wire

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.containers.limits import HostFacts


async def update(call: Call) -> StreamResponse:
    """`POST /containers/{name}/update`."""
    request, unknown = wire.parse(UpdateRequest, await call.json(dict[str, Any]) or {})
    if call.version < (1, 40):
        request.pids_limit = None
    if request.pids_limit is not None and request.pids_limit < 0:
        request.pids_limit = 0
    warnings = await call.rooms.containers.limits.update(call.vars["name"], request)
    warnings += [f"{field}: unknown field, ignored" for field in unknown]
    return reply.json({"Warnings": warnings or None})


async def pause(call: Call) -> StreamResponse:
    """`POST /containers/{name}/pause`."""
    await call.rooms.containers.pause(call.vars["name"])
    return reply.empty()


async def unpause(call: Call) -> StreamResponse:
    """`POST /containers/{name}/unpause`."""
    await call.rooms.containers.unpause(call.vars["name"])
    return reply.empty()


def info(host: HostFacts) -> dict[str, Any]:
    """The fields of `GET /info` about the host's cgroups."""
    return {
        "CgroupDriver": host.driver,
        "CgroupVersion": host.version,
        "MemoryLimit": host.memory,
        "SwapLimit": host.swap,
        "OomKillDisable": host.oom_kill_disable,
        "CpuCfsPeriod": host.cpu_quota,
        "CpuCfsQuota": host.cpu_quota,
        "CPUShares": host.cpu_shares,
        "CPUSet": host.cpuset,
        "PidsLimit": host.pids,
    }


def warnings(host: HostFacts) -> list[str]:
    """What the host can't limit, as `docker info` prints it (moby, daemon/info_unix.go, fillPlatformInfo)."""
    v2 = host.version == "2"
    throttles = (
        ["io.max (rbps)", "io.max (wbps)", "io.max (riops)", "io.max (wiops)"]
        if v2
        else [f"blkio throttle.{way}_{unit}_device" for unit in ("bps", "iops") for way in ("read", "write")]
    )
    lacking = [
        *([] if host.memory else ["memory limit"]),
        *([] if host.swap else ["swap limit"]),
        *([] if host.oom_kill_disable or v2 else ["oom kill disable"]),
        *([] if host.cpu_quota else ["cpu cfs quota", "cpu cfs period"]),
        *([] if host.cpu_shares else ["cpu shares"]),
        *([] if host.cpuset else ["cpuset"]),
        *([] if host.blkio_weight or not v2 else ["io.weight"]),
        *([] if host.blkio_weight_device or not v2 else ["io.weight (per device)"]),
        *([] if host.blkio_throttle else throttles),
    ]
    return [f"WARNING: No {what} support" for what in lacking]


ROUTES = (
    Route("POST", "/containers/{name}/update", update),
    Route("POST", "/containers/{name}/pause", pause),
    Route("POST", "/containers/{name}/unpause", unpause),
)
