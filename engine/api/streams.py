"""A container's streams: attach, logs, wait."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from dosirak.engine.api import hijack, reply, times
from dosirak.engine.api.router import Route
from dosirak.engine.containers import LogQuery, WaitCondition
from dosirak.engine.errors import EngineError, InvalidRequest
from dosirak.engine.supervision.model import Attach

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call

log = logging.getLogger("dosirak.api")


async def attach(call: Call) -> StreamResponse:
    """`POST /containers/{name}/attach`: from here on the connection belongs to the container."""
    container = call.rooms.containers.get(call.vars["name"])
    framed = not container.config.tty
    keys = hijack.detach_keys(call.text("detachKeys"))
    call.rooms.containers.check_attach(call.vars["name"])
    # A client that has the head may start the container at once, and must miss nothing of its output.
    with call.rooms.containers.expecting(container.id):
        stream, answer = await hijack.take(call, framed)
        client = Attach(
            sock=stream.sock,
            stdin=call.flag("stdin"),
            stdout=call.flag("stdout"),
            stderr=call.flag("stderr"),
            framed=framed,
            detach_keys=keys,
            initial=stream.initial,
        )
        logs = call.flag("logs")
        try:
            if logs:
                await hijack.until_read(stream.sock)
            await call.rooms.containers.attach(container.id, client, logs=logs, stream=call.flag("stream"))
        except EngineError as error:
            # The head says 101 already: what went wrong can only be said in the stream.
            await stream.fail(error.message)
        finally:
            stream.release()
    return answer


async def logs(call: Call) -> StreamResponse:
    """`GET /containers/{name}/logs`."""
    stdout, stderr = call.flag("stdout"), call.flag("stderr")
    if not stdout and not stderr:
        raise InvalidRequest("must specify at least one of 'stdout' or 'stderr'")
    query = LogQuery(
        stdout=stdout,
        stderr=stderr,
        follow=call.flag("follow"),
        timestamps=call.flag("timestamps"),
        details=call.flag("details"),
        tail=_tail(call.text("tail")),
        since=(times.parse_ns(call.text("since"), "since") or 0) / 1e9,
        until=(times.parse_ns(call.text("until"), "until") or 0) / 1e9,
    )
    container = call.rooms.containers.get(call.vars["name"])
    pieces = call.rooms.containers.log_stream(container.id, query)
    await anext(pieces)  # open before the head is out: a client may remove the container as soon as it has that
    multiplexed = not container.config.tty and call.version >= (1, 42)
    response = await reply.stream(call, hijack.MULTIPLEXED if multiplexed else hijack.RAW)
    async for piece in pieces:
        await response.write(piece)
    return response


def _tail(value: str) -> int | None:
    """`tail`: a number of lines; anything else means all, as in Docker."""
    return int(value) if value.isascii() and value.isdigit() else None


async def wait(call: Call) -> StreamResponse:
    """`POST /containers/{name}/wait`: the head is sent as soon as the wait is registered.

    `docker run` relies on that order: it starts the container only when it has this head.
    """
    condition = call.text("condition") or "not-running"
    if condition not in {member.value for member in WaitCondition}:
        raise InvalidRequest(f'invalid condition: "{condition[:40]}"')
    waiting = asyncio.ensure_future(call.rooms.containers.wait(call.vars["name"], condition))
    try:
        response = await reply.stream(call)
        result = await waiting
    finally:
        waiting.cancel()
    document: dict[str, Any] = {"StatusCode": result.code}
    if result.error:
        document["Error"] = {"Message": result.error}
    await response.write(reply.encode(document))
    return response


ROUTES = (
    Route("POST", "/containers/{name}/attach", attach),
    Route("POST", "/containers/{name}/wait", wait, watches=True),
    Route("GET", "/containers/{name}/logs", logs, watches=True),
)
