"""Raw streams on the API's connection: what `attach` and `exec start` do after their HTTP answer."""

from __future__ import annotations

import asyncio
import fcntl
import re
import socket
import struct
import sys
import termios
import time
from typing import TYPE_CHECKING

from aiohttp.web_response import StreamResponse

from dosirak.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.web_request import BaseRequest

    from dosirak.engine.api.call import Call

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
STDOUT = 1


class _Taken(StreamResponse):
    """The answer of a handler that has taken its connection: nothing to send, nothing to keep alive."""

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Called by aiohttp: the head is out already."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Called by aiohttp: the stream goes on without it."""

    @property
    def keep_alive(self) -> bool | None:
        """Called by aiohttp, which then closes its descriptor of the connection."""
        return False


def taken() -> StreamResponse:
    """What a handler returns that has answered on its taken connection by itself."""
    return _Taken()


class Stream:
    """A taken connection: the socket, the bytes of standard input that came with the request, and its framing."""

    def __init__(self, sock: socket.socket, initial: bytes, framed: bool) -> None:
        self.sock = sock
        self.initial = initial
        self.framed = framed
        # Who is handed `sock` closes it, also when it then fails: what went wrong is said on this one.
        self._spare = sock.dup()
        self._spare.setblocking(False)

    async def fail(self, message: str) -> None:
        """Say in the stream why it ends here, as Docker words it: a line of its own on standard output."""
        line = f"{message}\r\n".encode()
        try:
            await until_read(self._spare)
            await asyncio.get_running_loop().sock_sendall(self._spare, frame(STDOUT, line) if self.framed else line)
            self._spare.shutdown(socket.SHUT_RDWR)
            # Closing with unread input would give the client ECONNRESET in place of the end.
            while self._spare.recv(1 << 16):
                pass
        except OSError:
            pass  # the client has gone: nobody to tell
        self.sock.close()

    def release(self) -> None:
        """The socket is in other hands, or done with: keep none of it open here."""
        self._spare.close()


async def take(call: Call, framed: bool) -> tuple[Stream, StreamResponse]:
    """Answer the request's head and take its connection.

    Parameters: `framed`: the stream will carry Docker's 8-byte headers (no tty); clients of API 1.42 or later read
    that from the content type. Returns the stream and what the handler has to return.
    """
    sock, initial = call.connection.take()
    stream = Stream(sock, initial, framed)
    if "Upgrade" in call.request.headers:
        kind = MULTIPLEXED if framed and call.version >= (1, 42) else RAW
        head = f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    else:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {RAW}\r\n\r\n"
    try:
        await asyncio.get_running_loop().sock_sendall(sock, head.encode())
    except BaseException:
        sock.close()
        stream.release()
        raise
    return stream, taken()


async def until_read(sock: socket.socket) -> None:
    """Wait, for half a second at most, until the client has taken everything out of its end of the socket.

    docker-py reads the head through a buffer and the stream past it: bytes of the stream that it finds together with
    the head are lost to it. Whoever sends the first of them waits for that; a monitor does so by itself
    (`supervision/clients.py`). SIOCOUTQ, unix(7): what a unix socket's peer has not read yet.
    """
    deadline = time.monotonic() + 0.5
    rounds = 0
    while int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder) and time.monotonic() < deadline:
        # A client that is awake needs some 100 microseconds; the loop's timers know milliseconds only.
        await asyncio.sleep(0 if rounds < 20 else 0.001)
        rounds += 1


def frame(stream: int, data: bytes) -> bytes:
    """Docker's stream framing: stream number, three zeros, big-endian length, data."""
    return struct.pack(">BxxxI", stream, len(data)) + data


_CONTROL = {f"ctrl-{chr(code)}": code - 96 for code in range(97, 123)} | {
    "ctrl-@": 0,
    "ctrl-[": 27,
    "ctrl-\\": 28,
    "ctrl-]": 29,
    "ctrl-^": 30,
    "ctrl-_": 31,
}
_DEFAULT_KEYS = b"\x10\x11"


def detach_keys(text: str, default: bytes = _DEFAULT_KEYS) -> bytes:
    """Docker's `detachKeys` ("ctrl-p,ctrl-q", "a,ctrl-@") as the bytes a terminal sends; "" is the default.

    Raises InvalidRequest for an unknown key.
    """
    if not text:
        return default
    codes = bytearray()
    for key in text.split(","):
        if len(key) == 1 and ord(key) < 128:
            codes.append(ord(key))
        elif key in _CONTROL:
            codes.append(_CONTROL[key])
        else:
            raise InvalidRequest(f"Invalid detach keys ({shown(text)}) provided")
    return bytes(codes)


def shown(text: str) -> str:
    """A client's text, fit for a message."""
    return re.sub(r"[^\x20-\x7e]", "?", text)[:80]
