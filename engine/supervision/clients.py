"""An attached client: a stream socket, often the HTTP client's own connection.

Output goes to it in Docker's multiplexed frames, or raw with a terminal. One that does not take it holds nobody up: it
waits in a file, where the container has a log; without one (`--log-driver none`, exec) the process waits, as in Docker.
"""

from __future__ import annotations

import fcntl
import socket
import time

from dosirak.engine.supervision.spill import Spill

_CHUNK = 65536
# Bytes that wait in memory for a client before they go to a file, if they may.
_IN_MEMORY = 1 << 18
# With so many there, the process's output has to wait.
_BACKLOG = 1 << 20
# Seconds for which a client may not have read the head of the answer that made it one, and how often that is looked at.
_HEAD, _LOOK = 0.2, 0.0002
_SIOCOUTQ = 0x5411


class Client:
    """One attached client: what it wants (1 stdout, 2 stderr), whether its input goes to the process.

    Bytes that it does not take wait in a spill file, then (the newer ones) in memory. `moved`: when it last took some.
    `held`: nothing is sent to it yet, since somebody else is sending it the log first.
    """

    __slots__ = (
        "_backlog",
        "_folder",
        "_fresh",
        "_matched",
        "_spill",
        "detach_keys",
        "framed",
        "gone",
        "held",
        "moved",
        "reading",
        "sock",
        "stdin",
        "wants",
    )

    def __init__(
        self,
        sock: socket.socket,
        *,
        stdin: bool,
        wants: set[int],
        framed: bool,
        detach_keys: bytes,
        folder: str = "",
    ) -> None:
        """Parameters: `folder`: where a spill file may be made; "" for nowhere."""
        sock.setblocking(False)
        self.sock, self.stdin, self.wants, self.framed, self.detach_keys = sock, stdin, wants, framed, detach_keys
        self.reading = True  # until it half-closes
        self.gone = False  # it has closed, and input that it sent before is still to be read
        self.held = False
        self.moved = time.monotonic()
        self._folder = folder
        self._fresh = True  # nothing was sent to it
        self._backlog = bytearray()
        self._spill: Spill | None = None
        self._matched = 0

    @property
    def waiting(self) -> bool:
        """Whether there is something that it has not taken."""
        return bool(self._backlog or self._spill)

    @property
    def full(self) -> bool:
        """Whether no more may wait for it."""
        return len(self._backlog) > _BACKLOG

    def put(self, stream: int, data: bytes) -> bool:
        """Send a piece of output, keeping what the socket does not take. False: the client is gone."""
        if stream not in self.wants:
            return True
        if self.framed:
            data = bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data
        if not self.held and not self.waiting:
            return self._send(data)
        self._backlog += data
        if len(self._backlog) > _IN_MEMORY and self._folder:
            self._spill_over()
        return True

    def send_waiting(self) -> bool:
        """Send on. False: the client is gone."""
        if self._spill is None:
            data = bytes(self._backlog)
            self._backlog.clear()
            return self._send(data)
        try:
            self._spill.send(self.sock)
            self.moved = time.monotonic()
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not self._spill:
            self._close_spill()
        return True

    def hold(self) -> None:
        """Send nothing for now. Who sends meanwhile has seen to it that the answer's head was read."""
        self.held, self._fresh = True, False

    def forget_waiting(self) -> None:
        """It takes no more."""
        self.wants = set()
        self._backlog.clear()
        self._close_spill()

    def _send(self, data: bytes) -> bool:
        if self._fresh:
            self._fresh = False
            _await_read(self.sock)
        sent = 0
        try:
            sent = self.sock.send(data)
            self.moved = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            return False
        self._backlog += data[sent:]
        return True

    def _spill_over(self) -> None:
        try:
            if self._spill is None:
                self._spill = Spill(self._folder)
            del self._backlog[: self._spill.write(self._backlog)]
        except OSError:
            pass  # disk full, or the container is being removed: memory has to do
        if self._spill is not None and not self._spill:
            self._close_spill()

    def _close_spill(self) -> None:
        if self._spill is not None:
            self._spill.close()
            self._spill = None

    def finish(self) -> None:
        """End the conversation, also for those who hold a duplicate of the socket."""
        self._close_spill()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
            # Closing a socket with unread input would give its peer ECONNRESET in place of the end.
            for _ in range(32):
                if not self.sock.recv(_CHUNK):
                    break
        except OSError:
            pass
        self.sock.close()

    def cut_detach(self, data: bytes) -> tuple[bytes, bool]:
        """Look for the detach keys in what was typed: (what to pass on, whether the client detaches)."""
        keys = self.detach_keys
        if not keys or (not self._matched and keys[0] not in data):
            return data, False
        passed = bytearray()
        for byte in data:
            # What was typed of the keys so far may, from some later byte on, begin them anew ("aab" in "aaab").
            held = keys[: self._matched] + bytes((byte,))
            begin = next(at for at in range(len(held) + 1) if keys.startswith(held[at:]))
            passed += held[:begin]
            self._matched = len(held) - begin
            if self._matched == len(keys):
                return bytes(passed), True
        return bytes(passed), False


def _await_read(sock: socket.socket) -> None:
    """Wait until the peer has taken what was sent to it before us: docker-py reads the head of an answer through a
    buffer, and the stream past it; what it finds together with the head is lost to it. SIOCOUTQ: unix(7)."""
    unread, deadline = bytes(4), time.monotonic() + _HEAD
    while fcntl.ioctl(sock.fileno(), _SIOCOUTQ, unread) != unread and time.monotonic() < deadline:
        time.sleep(_LOOK)
