"""Connections and datagrams carried from the host's side of a published port to a container, and back.

Bytes of a connection go by splice(2) through a pipe each way and are never in this process's own memory.
"""

from __future__ import annotations

import os
import socket
import time

from dosirak.engine.supervision import loop as loops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dosirak.engine.supervision.loop import Loop

    Address = tuple[str, int]

_CHUNK = 1 << 20
# So many pieces are carried, and so many clients taken, before others get their turn.
_TURNS = 8
# Seconds until clients are taken again when there were no descriptors left for one.
_PAUSE = 0.2
# Seconds after which a client that sends datagrams no more is forgotten (docker-proxy's).
_SILENCE = 90.0
_MOST_CLIENTS = 1024
_DATAGRAM = 1 << 16


class TcpPort:
    """A published TCP port: `listener`, bound and listening on the host's side, leads to `target`."""

    def __init__(self, loop: Loop, listener: socket.socket, target: Address) -> None:
        self._loop, self._listener, self._target = loop, listener, target
        self._flows: set[_Flow] = set()
        listener.setblocking(False)
        listener.listen(128)
        self._watch()

    def close(self) -> None:
        """Take nobody any more, and end what goes on, as a container's end would."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for flow in list(self._flows):
            flow.close()

    def _watch(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.watch(self._listener.fileno(), loops.IN, lambda _: self._accept())

    def _accept(self) -> None:
        for _ in range(_TURNS):
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor left
                self._loop.forget(self._listener.fileno())
                self._loop.after(_PAUSE, self._watch)
                return
            try:
                self._flows.add(_Flow(self._loop, client, self._target, self._flows.discard))
            except OSError:
                client.close()


class _Way:
    """One direction of a connection, with the pipe between."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.read, self.write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.held = 0
        self.ended = self.done = False

    def carry(self) -> None:
        """As much as there is, up to a turn's worth. Raises OSError when an end is gone."""
        for _ in range(_TURNS):
            if not self.held and not self._fill():
                break
            if self.held and not self._drain():
                break
        if self.ended and not self.held and not self.done:
            self.done = True
            self.sink.shutdown(socket.SHUT_WR)

    def _fill(self) -> bool:
        if self.ended:
            return False
        try:
            self.held = os.splice(self.source.fileno(), self.write, _CHUNK, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return False
        self.ended = not self.held
        return not self.ended

    def _drain(self) -> bool:
        try:
            self.held -= os.splice(self.read, self.sink.fileno(), self.held, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


class _Flow:
    """One connection."""

    def __init__(self, loop: Loop, client: socket.socket, target: Address, on_close: Callable[[_Flow], None]) -> None:
        self._loop, self._client, self._on_close = loop, client, on_close
        self._inside = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._ways: list[_Way] = []
        self._watched: dict[int, int] = {}
        client.setblocking(False)
        try:
            self._inside.connect(target)
        except BlockingIOError:
            pass
        except OSError:
            self._inside.close()
            raise
        for sock in (client, self._inside):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._set(self._inside, loops.OUT)

    def close(self) -> None:
        """Hang up on both sides."""
        for sock in (self._client, self._inside):
            self._set(sock, 0)
            sock.close()
        for way in self._ways:
            way.close()
        self._ways = []
        self._on_close(self)

    def _ready(self, _events: int) -> None:
        try:
            if not self._ways:
                if self._inside.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self.close()
                    return
                self._ways.append(_Way(self._client, self._inside))
                self._ways.append(_Way(self._inside, self._client))
            for way in self._ways:
                way.carry()
        except OSError:
            self.close()
            return
        if all(way.done for way in self._ways):
            self.close()
            return
        there, back = self._ways
        self._set(self._client, _interest(there, back))
        self._set(self._inside, _interest(back, there))

    def _set(self, sock: socket.socket, events: int) -> None:
        """What to wait for on this side; one with nothing to wait for is not watched: its hang-up would never end."""
        fd = sock.fileno()
        if self._watched.get(fd, 0) == events:
            return
        self._watched[fd] = events
        if events:
            self._loop.watch(fd, events, self._ready)
        else:
            self._loop.forget(fd)


def _interest(outgoing: _Way, incoming: _Way) -> int:
    reads = loops.IN if not outgoing.ended and not outgoing.held else 0
    return reads | (loops.OUT if incoming.held else 0)


class UdpPort:
    """A published UDP port: each client has a socket of its own inside, by which answers find back."""

    def __init__(self, loop: Loop, outside: socket.socket, target: Address) -> None:
        self._loop, self._outside, self._target = loop, outside, target
        self._clients: dict[Address, tuple[socket.socket, float]] = {}
        outside.setblocking(False)
        loop.watch(outside.fileno(), loops.IN, lambda _: self._hear())

    def close(self) -> None:
        """Take nothing any more."""
        self._loop.forget(self._outside.fileno())
        self._outside.close()
        for client in list(self._clients):
            self._forget(client)

    def _hear(self) -> None:
        for _ in range(_TURNS):
            try:
                data, client = self._outside.recvfrom(_DATAGRAM)
            except OSError:
                return
            try:
                self._inside(client).send(data)
            except OSError:
                continue  # refused, or too fast: datagrams may be lost

    def _inside(self, client: Address) -> socket.socket:
        now = time.monotonic()
        known = self._clients.get(client)
        if known is None:
            self._make_room(now)
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            sock.connect(self._target)
            self._loop.watch(sock.fileno(), loops.IN, lambda _: self._answer(client, sock))
        else:
            sock = known[0]
        self._clients[client] = sock, now
        return sock

    def _make_room(self, now: float) -> None:
        for client in [client for client, (_, heard) in self._clients.items() if heard + _SILENCE < now]:
            self._forget(client)
        if len(self._clients) >= _MOST_CLIENTS:
            self._forget(next(iter(self._clients)))

    def _answer(self, client: Address, sock: socket.socket) -> None:
        for _ in range(_TURNS):
            try:
                self._outside.sendto(sock.recv(_DATAGRAM), client)
            except OSError:
                return
            self._clients[client] = sock, time.monotonic()

    def _forget(self, client: Address) -> None:
        sock, _ = self._clients.pop(client)
        self._loop.forget(sock.fileno())
        sock.close()
