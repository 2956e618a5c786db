"""Asking name servers outside, on behalf of containers: one after another, each with a port, an id and a time.

An answer counts only if it comes from the server that was asked (the socket is connected), to the port it was asked
from (the kernel's choice, at random), under the id (ours, at random), and repeats the question.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque

from dosirak.engine.networks.dns import packets
from dosirak.engine.supervision import loop as loops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dosirak.engine.networks.dns.packets import Question

PORT = 53
# Seconds a server has, and how many questions may be out at once: Docker's.
PATIENCE = 4.0
MOST = 1024
_SWEEP = 0.25


class Asking:
    """One question on its way: the socket to the present server, and what is left to try.

    Parameters: `message` is the whole of what the container sent; `stream`: by TCP; `open` makes a socket of a family
    and type, inside the container's namespace or out of it; `done` gets the first usable answer, or None.
    """

    __slots__ = ("done", "due", "id", "message", "open", "question", "read", "servers", "sock", "stream", "unsent")

    def __init__(
        self,
        question: Question,
        message: bytes,
        servers: Sequence[tuple[str, bool]],
        stream: bool,
        open: Callable[[int, int, bool], socket.socket],
        done: Callable[[bytes | None], None],
    ) -> None:
        self.question, self.message, self.stream = question, message, stream
        self.servers, self.open, self.done = deque(servers), open, done
        self.sock: socket.socket | None = None
        self.id, self.due, self.unsent, self.read = 0, 0.0, b"", b""


class Upstream:
    """All questions that are out."""

    def __init__(self, loop: loops.Loop) -> None:
        self._loop = loop
        self._out: set[Asking] = set()

    @property
    def full(self) -> bool:
        """Whether no more can be asked just now."""
        return len(self._out) >= MOST

    def ask(self, asking: Asking) -> None:
        """Ask the servers in turn."""
        if not self._out:
            self._loop.after(_SWEEP, self._sweep)
        self._out.add(asking)
        self._next(asking)

    def _next(self, asking: Asking) -> None:
        """Go on to the next server that can be asked at all."""
        self._hang_up(asking)
        while asking.servers:
            address, inside = asking.servers.popleft()
            try:
                self._call(asking, address, inside)
            except (OSError, ValueError):
                self._hang_up(asking)
                continue
            return
        self._out.discard(asking)
        asking.done(None)

    def _call(self, asking: Asking, address: str, inside: bool) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = socket.SOCK_STREAM if asking.stream else socket.SOCK_DGRAM
        asking.sock = sock = asking.open(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, inside)
        asking.id = int.from_bytes(os.urandom(2), "big")
        asking.due = time.monotonic() + PATIENCE
        message = packets.with_id(asking.message, asking.id)
        if asking.stream:
            asking.unsent, asking.read = len(message).to_bytes(2, "big") + message, b""
            try:
                sock.connect((address, PORT))
            except BlockingIOError:
                pass
            self._loop.watch(sock.fileno(), loops.OUT, lambda events: self._write(asking, events))
        else:
            sock.connect((address, PORT))
            sock.send(message)
            self._loop.watch(sock.fileno(), loops.IN, lambda _: self._receive(asking))

    def _receive(self, asking: Asking) -> None:
        assert asking.sock
        try:
            reply = asking.sock.recv(packets.LARGEST)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self._next(asking)
            return
        self._judge(asking, reply)

    def _judge(self, asking: Asking, reply: bytes) -> None:
        if not packets.matches(reply, asking.id, asking.question):
            return  # forged, or late: the right one may still come
        if packets.code_of(reply) in (packets.SERVFAIL, packets.REFUSED) and asking.servers:
            self._next(asking)
            return
        self._hang_up(asking)
        self._out.discard(asking)
        asking.done(packets.with_id(reply, asking.question.id))

    def _write(self, asking: Asking, events: int) -> None:
        assert asking.sock
        sock = asking.sock
        try:
            if events & loops.GONE:
                raise ConnectionError
            asking.unsent = asking.unsent[sock.send(asking.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._next(asking)
            return
        if not asking.unsent:
            self._loop.watch(sock.fileno(), loops.IN, lambda _: self._read(asking))

    def _read(self, asking: Asking) -> None:
        assert asking.sock
        try:
            data = asking.sock.recv(packets.LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        asking.read += data
        length = int.from_bytes(asking.read[:2], "big") + 2
        if len(asking.read) >= max(length, 2 + packets.HEADER.size):
            reply = asking.read[2:length]
            if packets.matches(reply, asking.id, asking.question):
                self._judge(asking, reply)
            else:
                self._next(asking)
        elif not data:
            self._next(asking)

    def _hang_up(self, asking: Asking) -> None:
        if asking.sock is not None:
            self._loop.forget(asking.sock.fileno())
            asking.sock.close()
            asking.sock = None

    def _sweep(self) -> None:
        now = time.monotonic()
        for asking in [asking for asking in self._out if asking.due <= now]:
            self._next(asking)
        if self._out:
            self._loop.after(_SWEEP, self._sweep)
