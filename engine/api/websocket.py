"""`/containers/{name}/attach/ws`: attach for browsers. The runtime gets one end of a socket pair, the web the other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from dosirak.engine.api import hijack
from dosirak.engine.api.router import Route
from dosirak.engine.runtime.model import Attach

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse
    from aiohttp.web_ws import WebSocketResponse

    from dosirak.engine.api.call import Call

_PIECE = 1 << 15


async def attach(call: Call) -> StreamResponse:
    """`GET /containers/{name}/attach/ws`: raw bytes both ways, in binary frames; the streams are not told apart."""
    from aiohttp.web_ws import WebSocketResponse  # not on the path of starting the service

    container = call.rooms.containers.get(call.vars["name"])
    keys = hijack.detach_keys(call.text("detachKeys"))
    call.rooms.containers.check_attach(call.vars["name"])
    # Before API 1.42 all three were meant, whatever the query said.
    stdin, stdout, stderr = (call.flag(name) or call.version < (1, 42) for name in ("stdin", "stdout", "stderr"))
    response = WebSocketResponse()
    await response.prepare(call.request)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        client = Attach(sock=theirs, stdin=stdin, stdout=stdout, stderr=stderr, framed=False, detach_keys=keys)
        await call.rooms.containers.attach(container.id, client, logs=call.flag("logs"), stream=call.flag("stream"))
        await _pump(response, ours)
    finally:
        theirs.close()
        ours.close()
    return response


async def _pump(response: WebSocketResponse, sock: socket.socket) -> None:
    """Copy both ways until the container's output or the client ends."""
    incoming = asyncio.create_task(_feed(response, sock))
    try:
        loop = asyncio.get_running_loop()
        while piece := await loop.sock_recv(sock, _PIECE):
            await response.send_bytes(piece)
    except ConnectionError:
        pass  # the client has gone
    finally:
        incoming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await incoming
    await response.close()


async def _feed(response: WebSocketResponse, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    async for message in response:
        data = message.data.encode() if isinstance(message.data, str) else message.data
        if isinstance(data, bytes):
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(sock, data)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


ROUTES = (Route("GET", "/containers/{name}/attach/ws", attach),)
