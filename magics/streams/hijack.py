"""A connection taken over from HTTP: what attach and exec become after their answer."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

_HEADER = struct.Struct(">BxxxI")


class Hijacked:
    """The raw stream behind an upgraded answer of docker-py's session.

    The answer's reader may hold bytes that came with the head (an exec's first output does): they are taken over,
    which docker-py's own sockets do not do.
    """

    def __init__(self, response: requests.Response) -> None:
        self._response: Any = response  # kept: its end would close the socket
        reader = response.raw._fp.fp
        self.sock: socket.socket = reader.raw._sock
        self.sock.setblocking(False)
        # peek() does one read of the socket when it holds nothing itself: with nothing there it says so.
        self._early = bytes(reader.peek() or b"")
        self.sock.setblocking(True)

    @property
    def has_early(self) -> bool:
        """Whether `receive` has something without waiting for the socket."""
        return bool(self._early)

    def fileno(self) -> int:
        """Return the socket's descriptor, for selectors."""
        return self.sock.fileno()

    def receive(self, limit: int = 65536) -> bytes:
        """Return what is there, at least one byte; nothing at the stream's end."""
        if self._early:
            early, self._early = self._early, b""
            return early
        try:
            return self.sock.recv(limit)
        except ConnectionResetError:
            return b""

    def send_some(self, data: bytes | memoryview) -> int:
        """Send what fits now; return how many bytes that was."""
        return self.sock.send(data)

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.sock.sendall(data)

    def end_input(self) -> None:
        """Close our half: the container's standard input ends."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side was quicker

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self.sock.close()


class Frames:
    """Docker's multiplexed stream, cut into (stream, bytes) as it arrives; frames may be cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""
        self._stream = 1
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield what `data` completes, without waiting for a frame's end; streams are 1 (stdout) and 2 (stderr)."""
        self._rest += data
        while self._rest:
            if self._left:
                piece, self._rest = self._rest[: self._left], self._rest[self._left :]
                self._left -= len(piece)
                yield self._stream, piece
            elif len(self._rest) >= _HEADER.size:
                self._stream, self._left = _HEADER.unpack_from(self._rest)
                self._rest = self._rest[_HEADER.size :]
            else:
                return
