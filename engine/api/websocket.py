"""`/containers/{name}/attach/ws`: attach for browsers. The runtime gets one end of a socket pair, the web the other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from dosirak.engine.api import hijack
from dosirak.engine.api.router import Route
from dosirak.engine.errors import EngineError
from dosirak.engine.supervision.model import Attach

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse
    from aiohttp.web_ws import WebSocketResponse

    from dosirak.engine.api.call import Call

_PIECE = 1 << 15
# RFC 6455: the code for "it can't be done", and the most that may be said with it (bytes).
_FAILED, _LONGEST_REASON = 1011, 123


async def attach(call: Call) -> StreamResponse:
    """`GET /containers/{name}/attach/ws`: raw bytes both ways, in binary frames; the streams are not told apart.

    A client's close ends its input, where that means something to the process (`docker run -i`), and output still
    comes, as in Docker; otherwise it ends the conversation.
    """
    from aiohttp.web_ws import WebSocketResponse  # not on the path of starting the service

    containers = call.rooms.containers
    container = containers.get(call.vars["name"])
    keys = hijack.detach_keys(call.text("detachKeys"))
    containers.check_attach(call.vars["name"])
    # Before API 1.42 all three were meant, whatever the query said.
    stdin, stdout, stderr = (call.flag(name) or call.version < (1, 42) for name in ("stdin", "stdout", "stderr"))
    half_closes = stdin and container.config.stdin_once and not container.config.tty
    response = WebSocketResponse(autoclose=False)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    client = Attach(sock=theirs, stdin=stdin, stdout=stdout, stderr=stderr, framed=False, detach_keys=keys)
    streams: list[asyncio.Task[None]] = []
    call.connection.end_with_client()
    try:
        # A client that has the head may start the container at once, and must miss nothing of its output.
        with containers.expecting(container.id):
            await response.prepare(call.request)
            streams = [asyncio.create_task(_show(response, ours)), asyncio.create_task(_feed(response, ours))]
            await containers.attach(container.id, client, logs=call.flag("logs"), stream=call.flag("stream"))
        await asyncio.wait(streams[:1] if half_closes else streams, return_when=asyncio.FIRST_COMPLETED)
    except EngineError as error:
        await response.close(code=_FAILED, message=error.message.encode()[:_LONGEST_REASON])
    finally:
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        theirs.close()
        ours.close()
    await response.close()
    return response


async def _show(response: WebSocketResponse, sock: socket.socket) -> None:
    """Send what the container writes, until that ends or the client has gone."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while piece := await loop.sock_recv(sock, _PIECE):
            await response.send_bytes(piece)


async def _feed(response: WebSocketResponse, sock: socket.socket) -> None:
    """Pass on what the client sends, until it ends that."""
    loop = asyncio.get_running_loop()
    async for message in response:
        data = message.data.encode() if isinstance(message.data, str) else message.data
        if isinstance(data, bytes):
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(sock, data)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


ROUTES = (Route("GET", "/containers/{name}/attach/ws", attach),)
