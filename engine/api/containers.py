"""`/containers`: records and life cycle. Streams stand in `streams.py`, exec in `execs.py`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dosirak.engine.api import container_view, older, reply
from dosirak.engine.api.router import Route
from dosirak.engine.containers import CreateRequest, wire
from dosirak.engine.errors import EngineError, InvalidRequest, NotSupported

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call

_CHECKPOINT = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


async def listing(call: Call) -> StreamResponse:
    """`GET /containers/json`."""
    found = call.rooms.containers.list(
        all=call.flag("all"), limit=max(0, call.integer("limit") or 0), filters=call.filters()
    )
    size = call.flag("size")
    linked = call.rooms.containers.networking.link_names()
    return reply.json(
        [
            await container_view.summary(call, container, size=size, linked=linked.get(container.id, ()))
            for container in found
        ]
    )


async def inspect(call: Call) -> StreamResponse:
    """`GET /containers/{name}/json`."""
    container = call.rooms.containers.get(call.vars["name"])
    return reply.json(await container_view.inspect(call, container))


async def create(call: Call) -> StreamResponse:
    """`POST /containers/create`."""
    body = await call.json(dict[str, Any])
    request, unknown = wire.parse(CreateRequest, body or {})
    if not (body or {}).keys() - {"HostConfig", "NetworkingConfig"}:
        raise InvalidRequest("config cannot be empty in order to create a container")
    warnings = older.understand(request, call.version)
    platform = call.text("platform") if call.version >= (1, 41) else ""
    created = await call.rooms.containers.create(
        request, call.text("name") or None, platform=platform or None, flat_readonly=call.version < (1, 44)
    )
    warnings += [f"{field}: unknown field, ignored" for field in unknown]
    return reply.json({"Id": created.id, "Warnings": [*created.warnings, *warnings]}, 201)


async def start(call: Call) -> StreamResponse:
    """`POST /containers/{name}/start`."""
    length = call.request.content_length
    if call.request.body_exists and (length is None or length > 7):
        raise InvalidRequest(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
        )
    if checkpoint := call.text("checkpoint"):
        if _CHECKPOINT.fullmatch(checkpoint) is None:
            raise InvalidRequest(f'invalid checkpoint ID "{checkpoint[:80]}"')
        raise NotSupported("docker start --checkpoint is not supported by this engine yet")
    await call.rooms.containers.start(call.vars["name"])
    return reply.empty()


async def stop(call: Call) -> StreamResponse:
    """`POST /containers/{name}/stop`."""
    await call.rooms.containers.stop(call.vars["name"], timeout=call.integer("t"), signal=_signal(call))
    return reply.empty()


async def restart(call: Call) -> StreamResponse:
    """`POST /containers/{name}/restart`."""
    await call.rooms.containers.restart(call.vars["name"], timeout=call.integer("t"), signal=_signal(call))
    return reply.empty()


def _signal(call: Call) -> str | None:
    """Of stop and restart; older clients' parameter of that name meant nothing."""
    return (call.text("signal") or None) if call.version >= (1, 42) else None


async def kill(call: Call) -> StreamResponse:
    """`POST /containers/{name}/kill`."""
    name = call.vars["name"]
    try:
        await call.rooms.containers.kill(name, call.text("signal") or "SIGKILL")
    except EngineError as error:
        error.args = (f"cannot kill container: {name}: {error.message}",)
        raise
    return reply.empty()


async def remove(call: Call) -> StreamResponse:
    """`DELETE /containers/{name}`."""
    if call.flag("link"):
        await call.rooms.containers.networking.remove_link(call.vars["name"])
        return reply.empty()
    await call.rooms.containers.remove(call.vars["name"], force=call.flag("force"), volumes=call.flag("v"))
    return reply.empty()


async def prune(call: Call) -> StreamResponse:
    """`POST /containers/prune`."""
    found = await call.rooms.containers.prune(call.filters())
    return reply.json({"ContainersDeleted": found.removed or None, "SpaceReclaimed": found.reclaimed})


async def rename(call: Call) -> StreamResponse:
    """`POST /containers/{name}/rename`."""
    await call.rooms.containers.rename(call.vars["name"], call.text("name"))
    return reply.empty()


async def resize(call: Call) -> StreamResponse:
    """`POST /containers/{name}/resize`."""
    await call.rooms.containers.resize(call.vars["name"], size(call, "h", "height"), size(call, "w", "width"))
    return reply.empty(200)


def size(call: Call, name: str, what: str) -> int:
    """A terminal's dimension. Raises InvalidRequest in Docker's words."""
    value = call.text(name)
    digits = value.removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        raise InvalidRequest(f'invalid resize {what} "{value[:20]}": invalid syntax')
    if digits != value or len(digits) > 10 or int(digits) > 0xFFFF:
        raise InvalidRequest(f'invalid resize {what} "{value[:20]}": value out of range')
    return int(digits)


async def top(call: Call) -> StreamResponse:
    """`GET /containers/{name}/top`."""
    return reply.json(await call.rooms.containers.top(call.vars["name"], call.text("ps_args")))


ROUTES = (
    Route("GET", "/containers/json", listing),
    Route("GET", "/containers/{name}/json", inspect),
    Route("GET", "/containers/{name}/top", top),
    Route("POST", "/containers/create", create),
    Route("POST", "/containers/prune", prune, since=(1, 25)),
    Route("POST", "/containers/{name}/start", start),
    Route("POST", "/containers/{name}/stop", stop),
    Route("POST", "/containers/{name}/restart", restart),
    Route("POST", "/containers/{name}/kill", kill),
    Route("POST", "/containers/{name}/rename", rename),
    Route("POST", "/containers/{name}/resize", resize),
    Route("DELETE", "/containers/{name}", remove),
)
