"""The engine service's side of the name server: starts it, tells it who is there, and starts it again when it is gone.

Nobody waits for it. What is to be told is kept here, and all of it is told whenever a connection comes up; meanwhile
questions wait in the containers' sockets, of which the service keeps copies for the case that the other side dies.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from dosirak.engine.errors import HostLimit
from dosirak.engine.networks.model import Endpoint

_LOG = logging.getLogger(__name__)
_SERVER = Path(__file__).with_name("server.py")
_LISTENER_FD = 3
_MESSAGE = 1 << 16
# Seconds to wait before the next try when the name server can't be had.
_PAUSE = 1.0
_encode = msgspec.json.Encoder().encode


class Box(msgspec.Struct, kw_only=True):
    """A container as the name server knows it (`zones.Box`), its namespace, and its sockets as far as they are here."""

    id: str
    networks: Sequence[str]
    links: dict[str, dict[str, str]]
    servers: Sequence[tuple[str, bool]]
    outside: bool
    whole: bool
    namespace: int
    sockets: tuple[int, ...] = ()

    def message(self) -> bytes:
        """What is told of it."""
        fields = ("id", "networks", "links", "servers", "outside", "whole")
        return _encode({"op": "box", **{name: getattr(self, name) for name in fields}})


class NameService:
    """The one name server of an engine root, by its socket at `path`.

    Parameters: `listen` makes the sockets in a box's namespace, for boxes that have none here or there; `namespace` is
    the network namespace in which the server lives, if not this process's.
    """

    def __init__(
        self, path: Path, listen: Callable[[Box], Awaitable[tuple[int, ...]]], namespace: int | None = None
    ) -> None:
        self._path, self._namespace = path, namespace
        self._listen = listen
        self._endpoints: dict[str, bytes] = {}
        self._boxes: dict[str, Box] = {}
        self._connection: socket.socket | None = None
        self._connecting: asyncio.Task[None] | None = None

    def set_endpoint(self, endpoint: Endpoint) -> None:
        """A container on a network, or what has become of it."""
        message = _encode(
            {
                "op": "endpoint",
                "id": endpoint.id,
                "network": endpoint.network_id,
                "name": endpoint.network,
                "names": endpoint.names,
                "address": endpoint.ip,
                "address6": endpoint.ip6,
            }
        )
        self._endpoints[endpoint.id] = message
        self._tell(message)

    def remove_endpoint(self, endpoint_id: str) -> None:
        """A container on a network no more; unknown is fine."""
        if self._endpoints.pop(endpoint_id, None):
            self._tell(_encode({"op": "gone", "id": endpoint_id}))

    def set_box(self, box: Box) -> None:
        """A container that asks, or what has become of it. Its sockets belong to this object from now on."""
        known = self._boxes.get(box.id)
        self._boxes[box.id] = box
        new = box.sockets
        if known is not None:
            box.sockets = new or known.sockets
        self._tell(box.message(), (box.namespace, *new) if new else ())
        if self._connection is None and self._connecting is None:
            self._connect()

    def remove_box(self, box_id: str) -> None:
        """A container that asks no more; unknown is fine."""
        box = self._boxes.pop(box_id, None)
        if box:
            for fd in box.sockets:
                os.close(fd)
            self._tell(_encode({"op": "unbox", "id": box_id}))

    async def close(self) -> None:
        """Let go of the name server: it goes on for the containers that run, or ends."""
        if self._connecting:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._hang_up()
        for box in self._boxes.values():
            for fd in box.sockets:
                os.close(fd)
        self._boxes.clear()

    def _tell(self, message: bytes, fds: Sequence[int] = ()) -> None:
        if self._connection is None:
            return  # all of it is told when there is one
        try:
            socket.send_fds(self._connection, [message], list(fds))
        except OSError as error:
            # Dead; or stopped or stuck, if it reads no more: another one takes over from it.
            _LOG.warning("name server: %s", error.strerror)
            self._lost()

    def _connect(self) -> None:
        self._connecting = asyncio.create_task(self._bring_up(), name="name server")

    async def _bring_up(self) -> None:
        while True:
            try:
                await self._try()
            except (OSError, HostLimit, ValueError) as error:
                _LOG.warning("name server: %s", error)
                await asyncio.sleep(_PAUSE)
            else:
                self._connecting = None
                return

    async def _try(self) -> None:
        loop = asyncio.get_running_loop()
        connection = self._dial() or await self._spawn()
        try:
            greeting = await asyncio.wait_for(loop.sock_recv(connection, _MESSAGE), 10.0)
            if not greeting:
                raise ConnectionError("it ended as soon as started")
            there = set(msgspec.json.decode(greeting)["boxes"])
            for box in list(self._boxes.values()):
                if not box.sockets and box.id not in there:
                    await self._make_sockets(box)
            self._tell_all(connection, there)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        loop.add_reader(connection.fileno(), self._heard)

    async def _make_sockets(self, box: Box) -> None:
        try:
            sockets = await self._listen(box)
        except OSError as error:
            _LOG.warning("container %s: no name server: %s", box.id[:12], error.strerror)
            return
        if self._boxes.get(box.id) is box:
            box.sockets = sockets
        else:  # ended meanwhile
            for fd in sockets:
                os.close(fd)

    def _tell_all(self, connection: socket.socket, there: set[str]) -> None:
        connection.setblocking(True)  # it reads, for it has just said so
        connection.settimeout(1.0)
        connection.send(_encode({"op": "begin"}))
        for message in self._endpoints.values():
            connection.send(message)
        for box in self._boxes.values():
            fds = [box.namespace, *box.sockets] if box.sockets and box.id not in there else []
            socket.send_fds(connection, [box.message()], fds)
        connection.send(_encode({"op": "end"}))
        connection.setblocking(False)

    def _dial(self) -> socket.socket | None:
        """The one that an earlier service started, if it lives."""
        connection = _socket()
        try:
            connection.connect(os.fspath(self._path))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except BaseException:
            connection.close()
            raise
        return connection

    async def _spawn(self) -> socket.socket:
        """A new one; the connection waits in its socket until it is up."""
        self._path.unlink(missing_ok=True)
        connection = _socket()
        with _socket() as listener:
            listener.bind(os.fspath(self._path))
            self._path.chmod(0o600)
            listener.listen(2)
            connection.connect(os.fspath(self._path))
            fds = [listener.fileno()] if self._namespace is None else [listener.fileno(), self._namespace]
            # Out of the way of the numbers they get.
            fds = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LISTENER_FD + 2) for fd in fds]
            numbers = range(_LISTENER_FD, _LISTENER_FD + len(fds))
            program = [sys.executable, "-S", "-E", "-I", os.fspath(_SERVER), *map(str, numbers)]
            actions = [(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in zip(fds, numbers, strict=True)]
            try:
                pid = os.posix_spawn(program[0], program, {}, file_actions=actions, setsid=True)  # noqa: ASYNC221
            finally:
                for fd in fds:
                    os.close(fd)
        await asyncio.to_thread(os.waitpid, pid, 0)  # what serves is its child, and nobody's
        return connection

    def _heard(self) -> None:
        """It says nothing after its greeting: it has ended."""
        assert self._connection
        try:
            if self._connection.recv(_MESSAGE):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._lost()

    def _lost(self) -> None:
        self._hang_up()
        if self._boxes and self._connecting is None:
            self._connect()

    def _hang_up(self) -> None:
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._connection.close()
            self._connection = None


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.setblocking(False)
    return made
