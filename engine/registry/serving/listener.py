"""One served registry: a TCP port, and what answers there."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import ssl
from typing import TYPE_CHECKING

from aiohttp.web_server import Server

from dosirak.engine.errors import Conflict, InvalidRequest, host_limit
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.registry.serving.model import Served, Wanted
from dosirak.engine.registry.serving.passwords import Passwords
from dosirak.engine.registry.serving.pushes import Pushes
from dosirak.engine.registry.serving.routes import Routes
from dosirak.engine.registry.serving.shelf import Shelf

if TYPE_CHECKING:
    from dosirak.engine.content import Store
    from dosirak.engine.images import Images

_KEEP_ALIVE = 75.0
_PATIENCE = 0.5
"""Seconds: a connection without a request stays; requests under way get to end."""


class Listener:
    """Made by `listen`. `served` says what it is."""

    def __init__(self, served: Served, server: asyncio.Server, http: Server, pushes: Pushes) -> None:
        self.served = served
        self._server = server
        self._http = http
        self._pushes = pushes

    async def close(self) -> None:
        """Ends the listener, its connections and its unfinished uploads."""
        self._server.close()
        try:
            await self._http.shutdown(_PATIENCE)
        finally:
            await self._pushes.close()


async def listen(wanted: Wanted, images: Images, store: Store) -> Listener:
    """Serves the store at an address. Raises InvalidRequest, Conflict when the port is taken."""
    host = _host(wanted.host)
    if not 0 <= wanted.port <= 65535:
        raise InvalidRequest(f"invalid port: {wanted.port}")
    context = await in_thread(_context, wanted)
    passwords = await in_thread(Passwords.of, wanted)
    loop = asyncio.get_running_loop()
    routes: list[Routes] = []
    http = Server(
        lambda request: routes[0].answer(request),
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=_KEEP_ALIVE,
    )
    try:
        server = await loop.create_server(http, host, wanted.port, ssl=context, start_serving=False)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            reason = os.strerror(error.errno).lower()
            raise Conflict(f"listen tcp {_joined(host, wanted.port)}: bind: {reason}") from error
        raise host_limit(f"listen tcp {_joined(host, wanted.port)}", error) from error
    try:
        port = server.sockets[0].getsockname()[1]
        shelf = Shelf(images, store, f"localhost:{port}")
        pushes = Pushes(images, store, shelf)
        await pushes.open()
        routes.append(Routes(wanted, shelf, pushes, store, passwords))
        await server.start_serving()
    except BaseException:
        # Nobody would know of it any more, and its port would stay taken.
        server.close()
        raise
    served = Served(_joined(host, port), wanted.read_only, passwords.told, context is not None)
    return Listener(served, server, http, pushes)


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise InvalidRequest(f"invalid address to listen at: {text[:100]!r} is no IP address") from error


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _context(wanted: Wanted) -> ssl.SSLContext | None:
    if not wanted.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(wanted.certificate, wanted.key or None)
    except OSError as error:
        raise InvalidRequest(f"{wanted.certificate}: no certificate with its key: {error.strerror or error}") from error
    return context
