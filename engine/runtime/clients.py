"""An attached client: a stream socket, often the HTTP client's own connection.

Output goes to it in Docker's multiplexed frames, or raw with a terminal.
"""

from __future__ import annotations

import select
import socket
import time

_CHUNK = 65536
# Seconds for which a client may take nothing before it is let go.
PATIENCE = 10.0


class Client:
    """One attached client: what it wants (1 stdout, 2 stderr), whether its input goes to the process."""

    __slots__ = ("_matched", "backlog", "detach_keys", "framed", "gone", "moved", "reading", "sock", "stdin", "wants")

    def __init__(self, sock: socket.socket, *, stdin: bool, wants: set[int], framed: bool, detach_keys: bytes) -> None:
        sock.setblocking(False)
        self.sock, self.stdin, self.wants, self.framed, self.detach_keys = sock, stdin, wants, framed, detach_keys
        self.reading = True  # until it half-closes
        self.gone = False  # it has closed, and input that it sent before is still to be read
        self.backlog = bytearray()
        self.moved = time.monotonic()
        self._matched = 0

    def put(self, stream: int, data: bytes) -> bool:
        """Send a piece of output, keeping what the socket does not take. False: the client is gone."""
        if stream not in self.wants:
            return True
        if self.framed:
            data = bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data
        if self.backlog:
            self.backlog += data
            return True
        return self._send(data)

    def send_backlog(self) -> bool:
        """Send on. False: the client is gone."""
        data = bytes(self.backlog)
        self.backlog.clear()
        return self._send(data)

    def _send(self, data: bytes) -> bool:
        sent = 0
        try:
            sent = self.sock.send(data)
            self.moved = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            return False
        self.backlog += data[sent:]
        return True

    def finish(self) -> None:
        """End the conversation, also for those who hold a duplicate of the socket."""
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


def send_all(clients: list[Client]) -> None:
    """Send what is left to each, waiting as long as it moves."""
    poll = select.poll()
    waiting = {client.sock.fileno(): client for client in clients if client.backlog}
    for fd, client in waiting.items():
        client.moved = time.monotonic()
        poll.register(fd, select.POLLOUT)
    while waiting:
        ready = [fd for fd, _ in poll.poll(1000)]
        now = time.monotonic()
        for fd, client in list(waiting.items()):
            if fd in ready and not client.send_backlog():
                client.backlog.clear()
            if not client.backlog or now - client.moved > PATIENCE:
                poll.unregister(fd)
                del waiting[fd]
