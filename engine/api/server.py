"""The API's door: every request comes through here to its handler, and every failure leaves as Docker's error body."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from typing import TYPE_CHECKING

from aiohttp.web_exceptions import HTTPException

from dosirak.engine.api import (
    archive,
    build,
    build_checks,
    build_inputs,
    commit,
    containers,
    doctor,
    events,
    execs,
    extras,
    images,
    limits,
    networks,
    registry,
    reply,
    serving,
    stats,
    streams,
    system,
    unsupported,
    versions,
    volumes,
    websocket,
)
from dosirak.engine.api.call import Call
from dosirak.engine.api.connection import Connection, ConnectionServer
from dosirak.engine.api.router import Router
from dosirak.engine.errors import EngineError, host_limit

if TYPE_CHECKING:
    import socket

    from aiohttp.web_request import BaseRequest
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.rooms import Rooms

log = logging.getLogger("dosirak.api")

_RESOURCES = (
    system,
    containers,
    streams,
    execs,
    limits,
    stats,
    archive,
    commit,
    images,
    registry,
    serving,
    build,
    build_checks,
    build_inputs,
    events,
    networks,
    volumes,
    websocket,
    extras,
    doctor,
    unsupported,
)

# What the host lacks for now, rather than a defect of ours.
_LIMITS = (
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
)


class Api:
    """The engine's API on one listening socket.

    Attributes: `active`, requests being handled (a taken connection is none); `last_used`, when one last ended
    (time.monotonic() seconds).
    """

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._router = Router(route for resource in _RESOURCES for route in resource.ROUTES)
        self._connections = ConnectionServer(self._handle)
        self._listener: asyncio.Server | None = None
        self.active = 0
        self.last_used = time.monotonic()

    async def listen(self, listener: socket.socket) -> None:
        """Answer what comes in on `listener`, a listening unix socket."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            self._listener.close()
        self._listener = await loop.create_unix_server(self._connections, sock=listener)

    @property
    def arrivals(self) -> tuple[int, int]:
        """Connections and requests so far: whether anybody came between two looks."""
        return self._connections.made, self._connections.requests_count

    async def close(self, patience: float = 5.0) -> None:
        """Stop listening; cut off who only watches (events, logs -f, wait); give the others `patience` seconds."""
        if self._listener is not None:
            self._listener.close()
        for connection in self._connections.connections:
            if isinstance(connection, Connection) and connection.watching:
                connection.end_stream()
        deadline = time.monotonic() + patience
        while self.active and time.monotonic() < deadline:  # noqa: ASYNC110 (at the end of a process's life)
            await asyncio.sleep(0.02)
        await self._connections.shutdown(0.2)

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        self.active += 1
        connection.request_begun(request)
        try:
            response = await self._answer(request)
        finally:
            self.active -= 1
            self.last_used = time.monotonic()
            connection.request_answered(request.content.is_eof())
        if connection.is_last or not request.content.is_eof():
            # What follows on this connection was never parsed, or is a body nobody wanted: no further request here.
            response.force_close()
        return response

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        asked, path = versions.split(request.path)
        try:
            return await self._dispatch(request, asked, path)
        except EngineError as error:
            status, message = error.status, error.message
            if status == 500:
                log.error("%s %s: %s", request.method, request.path, message)
        except HTTPException as error:
            status, message = error.status, error.reason or str(error)
        except ConnectionError:
            raise
        except Exception as error:
            status = 500
            if isinstance(error, OSError) and error.errno in _LIMITS:
                message = host_limit(error.filename or "the engine", error).message
                log.error("%s %s: %s", request.method, request.path, message)
            else:
                message = f"internal error: {type(error).__name__}: {error}"
                log.exception("%s %s", request.method, request.path)
        if request.writer.output_size > 0:
            # The answer's head is out: nothing can be said any more but by cutting the answer off.
            raise ConnectionResetError(message)
        if asked and tuple(int(part or 0) for part in asked.split(".")[:2]) < versions.MINIMUM:
            # A client that old expects plain text.
            return reply.text(f"{message}\n", status)
        return reply.error(message, status)

    async def _dispatch(self, request: BaseRequest, asked: str, path: str) -> StreamResponse:
        found = self._router.find(request.method, path)
        if found is None:
            return reply.empty(200) if request.method == "OPTIONS" else reply.error("page not found", 404)
        route, variables = found
        version = versions.negotiate(asked)
        if version < route.since:
            return reply.error(
                f"{request.method} {route.pattern} requires minimum API version {versions.text(route.since)}", 400
            )
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.watching = route.watches
        return await route.handler(Call(request, self._rooms, version, variables))
