"""`/containers/{name}/update`, `/pause`, `/unpause`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dosirak.engine.api import reply
from dosirak.engine.api.router import Route
from dosirak.engine.containers import UpdateRequest, wire

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call


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


ROUTES = (
    Route("POST", "/containers/{name}/update", update),
    Route("POST", "/containers/{name}/pause", pause),
    Route("POST", "/containers/{name}/unpause", unpause),
)
