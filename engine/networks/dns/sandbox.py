"""One container's end of the name server: its two sockets, and the TCP conversations on them."""

from __future__ import annotations

import os
import socket
import time
from functools import partial

from dosirak.engine.networks.dns import packets
from dosirak.engine.networks.dns.upstream import Asking
from dosirak.engine.networks.dns.zones import Box
from dosirak.engine.runtime.syscalls import CLONE_NEWNET, setns
from dosirak.engine.supervision import loop as loops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dosirak.engine.networks.dns.upstream import Upstream
    from dosirak.engine.networks.dns.zones import Zones

# So many questions are answered before other containers get their turn.
_BATCH = 32
# TCP conversations a container may have at once, and seconds one may be silent.
_CONVERSATIONS = 32
_SILENCE = 10.0
# Questions of one container that may be out at once.
_ASKED = 256


class Home:
    """The namespace of this process, to come back to from a container's."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def socket(self, namespace: int, family: int, kind: int) -> socket.socket:
        """A socket made in that namespace, or here for -1. Raises OSError."""
        if namespace < 0:
            return socket.socket(family, kind)
        setns(namespace, CLONE_NEWNET)
        try:
            return socket.socket(family, kind)
        finally:
            setns(self._fd, CLONE_NEWNET)


class Sandbox:
    """A container's sockets: `udp` and, unless it wants that port itself, `tcp`; `namespace` its network namespace."""

    def __init__(
        self,
        loop: loops.Loop,
        zones: Zones,
        upstream: Upstream,
        home: Home,
        box: Box,
        sockets: tuple[socket.socket, socket.socket | None],
        namespace: int,
    ) -> None:
        self.box = box
        self._loop, self._zones, self._upstream, self._home = loop, zones, upstream, home
        self._udp, self._tcp = sockets
        self._namespace = namespace
        self._asked = 0
        self._conversations: set[_Conversation] = set()
        self._closed = False
        self._udp.setblocking(False)
        loop.watch(self._udp.fileno(), loops.IN, lambda _: self._hear())
        if self._tcp is not None:
            self._tcp.setblocking(False)
            loop.watch(self._tcp.fileno(), loops.IN, lambda _: self._accept())

    @property
    def inode(self) -> int:
        """What names the namespace in /proc."""
        return os.fstat(self._namespace).st_ino

    def close(self) -> None:
        """Let go of everything."""
        self._closed = True
        for conversation in list(self._conversations):
            conversation.close()
        for sock in (self._udp, self._tcp):
            if sock is not None:
                self._loop.forget(sock.fileno())
                sock.close()
        os.close(self._namespace)

    def _hear(self) -> None:
        for _ in range(_BATCH):
            try:
                data, address = self._udp.recvfrom(packets.LARGEST)
            except OSError:
                return
            self._serve(data, False, partial(self._send, address))

    def _send(self, address: tuple[str, int], reply: bytes) -> None:
        try:
            self._udp.sendto(reply, address)
        except OSError:
            pass  # whoever asked has gone, or doesn't read: it will ask again

    def _serve(self, data: bytes, stream: bool, reply: Callable[[bytes], None]) -> None:
        """Answer one message, now or when somebody else has."""
        try:
            question = packets.read(data)
        except packets.Malformed as error:
            if error.reply:
                reply(error.reply)
            return
        limit = packets.LARGEST if stream else 0
        answers = self._zones.answer(self.box, question)
        if (
            answers is None
            and self.box.whole
            and "." not in question.name
            and question.kind in (packets.A, packets.AAAA)
        ):
            answers = []
        if answers is not None:
            reply(packets.write(question, packets.NOERROR, answers, limit))
            return
        if not self.box.servers:
            reply(packets.write(question, packets.SERVFAIL))
            return
        if self._asked >= _ASKED or self._upstream.full:
            reply(packets.write(question, packets.REFUSED))
            return

        def done(answer: bytes | None) -> None:
            self._asked -= 1
            if not self._closed:
                reply(answer or packets.write(question, packets.SERVFAIL))

        self._asked += 1
        self._upstream.ask(Asking(question, data, self.box.servers, stream, self._open, done))

    def _open(self, family: int, kind: int, inside: bool) -> socket.socket:
        return self._home.socket(self._namespace if inside else -1, family, kind)

    def _accept(self) -> None:
        assert self._tcp
        try:
            sock, _ = self._tcp.accept()
        except OSError:
            return
        now = time.monotonic()
        for old in [old for old in self._conversations if old.heard + _SILENCE < now]:
            old.close()
        if len(self._conversations) >= _CONVERSATIONS:
            sock.close()
            return
        self._conversations.add(_Conversation(self._loop, sock, self._serve, self._conversations.discard))


class _Conversation:
    """One TCP connection: messages with their length before them, each way."""

    def __init__(
        self,
        loop: loops.Loop,
        sock: socket.socket,
        serve: Callable[[bytes, bool, Callable[[bytes], None]], None],
        closed: Callable[[_Conversation], None],
    ) -> None:
        self.heard = time.monotonic()
        self._loop, self._sock, self._serve, self._on_close = loop, sock, serve, closed
        self._read, self._unsent, self._open = b"", b"", True
        sock.setblocking(False)
        loop.watch(sock.fileno(), loops.IN, self._ready)

    def close(self) -> None:
        """Hang up."""
        if self._open:
            self._open = False
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._on_close(self)

    def _ready(self, events: int) -> None:
        self.heard = time.monotonic()
        if events & loops.OUT:
            self._flush()
            return
        try:
            data = self._sock.recv(packets.LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._read += data
        while (
            self._open
            and len(self._read) >= 2
            and len(self._read) >= (size := 2 + int.from_bytes(self._read[:2], "big"))
        ):
            message, self._read = self._read[2:size], self._read[size:]
            self._serve(message, True, self._reply)

    def _reply(self, message: bytes) -> None:
        if self._open:
            self._unsent += len(message).to_bytes(2, "big") + message
            self._flush()

    def _flush(self) -> None:
        """Send what can be sent; who doesn't read is not read from."""
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._loop.watch(self._sock.fileno(), loops.OUT if self._unsent else loops.IN, self._ready)
