"""`/build`: a context comes in as a tar stream, Docker's classic builder messages go out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dosirak.engine.api import build_inputs, reply
from dosirak.engine.api.router import Route
from dosirak.engine.build import BuildRequest, Limits, Renderer
from dosirak.engine.build.cache import Room
from dosirak.engine.build.inputs import Remote
from dosirak.engine.errors import EngineError, InvalidRequest, NotSupported

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.build import Progress
    from dosirak.engine.images.model import Image
    from dosirak.engine.registry import Credentials


async def build(call: Call) -> StreamResponse:
    """`POST /build`.

    What is wrong before anything happened is an HTTP error; what goes wrong later is the stream's last message.
    The build ends with its client.
    """
    request = _request(call)
    call.connection.end_with_client()
    events: asyncio.Queue[Progress | None] = asyncio.Queue()
    building = asyncio.create_task(call.rooms.builder.build(request, events.put_nowait))
    building.add_done_callback(lambda _: events.put_nowait(None))
    try:
        first = await events.get()
        if first is None:
            building.result()  # raises: nothing was done
        response = await reply.stream(call)
        await _tell(response, first, events, Renderer(quiet=call.flag("q")))
        # A failure has been told as an event.
        with contextlib.suppress(EngineError):
            await building
        return response
    finally:
        await _end(building)


async def _tell(
    response: StreamResponse, first: Progress | None, events: asyncio.Queue[Progress | None], renderer: Renderer
) -> None:
    event = first
    while event is not None:
        messages = renderer.feed(event)
        # What has come meanwhile goes out in the same write: a chatty step costs one system call, not one a line.
        while not events.empty() and (event := events.get_nowait()) is not None:
            messages += renderer.feed(event)
        if messages:
            await response.write(b"".join(reply.encode(message) for message in messages))
        if event is not None:
            event = await events.get()


async def _end(building: asyncio.Task[Image]) -> None:
    """Leave nothing running behind: a client that went away has cancelled this handler."""
    if building.done():
        # A failure that nobody is there to hear of any more is none of the event loop's business either.
        _ = building.cancelled() or building.exception()
        return
    building.cancel()
    with contextlib.suppress(asyncio.CancelledError, EngineError):
        await building


def _request(call: Call) -> BuildRequest:
    """The query of `POST /build`, and the logins in `X-Registry-Config`."""
    if call.text("version") == "2":
        raise NotSupported("BuildKit's protocol is not supported by this engine yet; set DOCKER_BUILDKIT=0")
    if call.flag("squash"):
        raise NotSupported("squash is not supported by this engine")
    inputs = build_inputs.take(call)
    return BuildRequest(
        context=Remote(call.text("remote")) if call.text("remote") else inputs.folder or call.body(),
        dockerfile=call.text("dockerfile"),
        dockerfile_text=inputs.dockerfile,
        tags=tuple(call.texts("t")),
        args=call.json_parameter("buildargs", dict[str, str | None], {}),
        labels=call.json_parameter("labels", dict[str, str], {}),
        target=call.text("target"),
        platform=call.text("platform"),
        no_cache=call.flag("nocache"),
        no_cache_stages=tuple(call.json_parameter("nocachefilter", list[str], [])),
        pull=call.flag("pull"),
        network=call.text("networkmode") or "default",
        extra_hosts=tuple(call.texts("extrahosts")),
        limits=_limits(call),
        credentials=_credentials(call),
        rewrite_timestamp=call.flag("rewritetimestamp"),
        inputs=inputs,
    )


def _credentials(call: Call) -> Mapping[str, Credentials]:
    header = call.request.headers.get("X-Registry-Config", "")
    if header.rstrip("=") in ("", "e30", "bnVsbA"):
        return {}  # nothing, {} or null, as most clients send it: the registries' room is not needed for that
    from dosirak.engine.registry.credentials import decode_all

    return decode_all(header)


def _limits(call: Call) -> Limits:
    ulimits = call.json_parameter("ulimits", list[dict[str, str | int]], [])
    return Limits(
        memory=call.integer("memory") or 0,
        memory_swap=call.integer("memswap") or 0,
        cpu_shares=call.integer("cpushares") or 0,
        cpu_period=call.integer("cpuperiod") or 0,
        cpu_quota=call.integer("cpuquota") or 0,
        cpuset_cpus=call.text("cpusetcpus"),
        cpuset_mems=call.text("cpusetmems"),
        shm_size=call.integer("shmsize") or 0,
        ulimits=tuple(_ulimit(limit) for limit in ulimits),
    )


def _ulimit(limit: dict[str, str | int]) -> tuple[str, int, int]:
    name, soft, hard = limit.get("Name"), limit.get("Soft", 0), limit.get("Hard", 0)
    if not isinstance(name, str) or not isinstance(soft, int) or not isinstance(hard, int):
        raise InvalidRequest("error reading ulimits: each needs a Name, a Soft and a Hard limit")
    return name, soft, hard


async def prune(call: Call) -> StreamResponse:
    """`POST /build/prune`."""
    least = call.integer("reserved-space") or call.integer("keep-storage") or None
    room = Room(least, call.integer("max-used-space") or None, call.integer("min-free-space") or None)
    found = await call.rooms.builder.prune(call.filters(), all=call.flag("all"), room=room)
    return reply.json({"CachesDeleted": found.removed or None, "SpaceReclaimed": found.reclaimed})


ROUTES = (
    Route("POST", "/build", build),
    Route("POST", "/build/prune", prune, since=(1, 31)),
)
