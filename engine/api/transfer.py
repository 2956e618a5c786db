"""Large bodies on the API's connection: straight from files to the socket, and from the socket to whoever unpacks.

aiohttp hands bodies over in small pieces on the event loop. A tar of hundreds of megabytes goes past it: the connection
is taken (`Connection.take`), and a thread of the transfer's own moves the bytes.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import re
import select
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from dosirak.engine.api import hijack, reply
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.layers.pack import Body, Piece
from dosirak.engine.layers.threads import in_thread

if TYPE_CHECKING:
    import socket

    from aiohttp.web_response import StreamResponse
    from typing_extensions import Buffer

    from dosirak.engine.api.call import Call

T = TypeVar("T")
# Small pieces are sent together; a file from this size on is copied by the kernel.
_TOGETHER = 1 << 18
_BY_KERNEL = 1 << 16
_CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_LONGEST_LINE = 4096
_AHEAD = 1 << 18
# What a client still sends of an upload that was refused, or behind an archive's end, is read for so long.
_DRAIN_SECONDS = 10.0


async def abortable(work: Coroutine[Any, Any, T], abort: Callable[[], None]) -> T:
    """Run work that a thread does; a cancellation calls `abort`, which makes the thread end, and waits for that."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        abort()
        await asyncio.wait([task])
        raise


class Download:
    """An answer whose body a thread sends. Nothing is taken, and any error can still be answered, until `send`."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = None

    def send(self, headers: Mapping[str, str], pieces: Iterator[Piece]) -> None:
        """Send the head and then the pieces. In a thread. Returns early when the client goes away.

        Raises OSError where a piece can't be read; the client sees a body that is cut off.
        """
        sock = asyncio.run_coroutine_threadsafe(self._take(), self._loop).result()
        chunked = self._call.request.version >= (1, 1)
        sender = _Sender(sock.fileno(), chunked)
        try:
            sender.write(_head(headers, chunked))
            for piece in pieces:
                sender.add(piece)
            sender.end()
        except _ClientGone:
            pass
        finally:
            sock.close()

    async def _take(self) -> socket.socket:
        self._sock, _ = self._call.connection.take()
        return self._sock

    def abort(self) -> None:
        """Hang up: the thread ends at its next write."""
        if self._sock is not None:
            _hang_up(self._sock)

    def answer(self) -> StreamResponse:
        """What the handler returns."""
        return hijack.taken()


def _head(headers: Mapping[str, str], chunked: bool) -> bytes:
    lines = {**reply.COMMON_HEADERS, **headers, "Connection": "close"}
    if chunked:
        lines["Transfer-Encoding"] = "chunked"
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 200 OK\r\n{text}\r\n".encode()


class _ClientGone(Exception):
    """Nobody reads any more."""


class _Sender:
    """Writes pieces to a socket, in HTTP chunks if asked: a large file is one chunk, which sendfile(2) fills."""

    def __init__(self, fd: int, chunked: bool) -> None:
        self._fd = fd
        self._chunked = chunked
        self._waiting: list[bytes] = []
        self._size = 0

    def add(self, piece: Piece) -> None:
        if isinstance(piece, bytes):
            self._put(piece)
        elif piece.size < _BY_KERNEL:
            for data in piece.chunks():
                self._put(data)
        else:
            self._flush()
            self._file(piece)

    def end(self) -> None:
        self._flush()
        if self._chunked:
            self.write(b"0\r\n\r\n")

    def _put(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        if not self._size:
            return
        data = b"".join(self._waiting)
        self.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        self._waiting.clear()
        self._size = 0

    def _file(self, body: Body) -> None:
        if self._chunked:
            self.write(b"%x\r\n" % body.size)
        sent = 0
        while sent < body.size:
            try:
                count = os.sendfile(self._fd, body.fd, sent, body.size - sent)
            except BlockingIOError:
                _wait(self._fd, select.POLLOUT)
                continue
            except OSError as error:
                raise _gone(error) from error
            if not count:
                break  # it has shrunk
            sent += count
        while sent < body.size:
            zeros = bytes(min(body.size - sent, _TOGETHER))
            self.write(zeros)
            sent += len(zeros)
        if self._chunked:
            self.write(b"\r\n")

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                _wait(self._fd, select.POLLOUT)
            except OSError as error:
                raise _gone(error) from error


def _gone(error: OSError) -> Exception:
    return _ClientGone() if error.errno in (errno.EPIPE, errno.ECONNRESET) else error


class Upload:
    """A request's body, read from the socket by a thread (`reader`); the answer goes the usual way."""

    def __init__(self, call: Call) -> None:
        """Takes the connection. Raises InvalidRequest."""
        headers = call.request.headers
        chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        # aiohttp has been given the head only, and must not wait for the rest. (It resumes reading: so first this.)
        call.request.content.feed_eof()
        self._sock, initial = call.connection.take()
        if headers.get("Expect", "").lower() == "100-continue":
            self._sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = None if chunked else call.request.content_length or 0
        self._body = IncomingBody(self._sock.fileno(), initial, length)
        self.reader = io.BufferedReader(self._body, 1 << 20)

    def abort(self) -> None:
        """Hang up: the thread's next read finds the end."""
        _hang_up(self._sock)

    async def finish(self) -> None:
        """Read what the client still sends, so that it comes to read the answer, and let go of the connection."""
        try:
            await in_thread(self._body.drain, _DRAIN_SECONDS)
        finally:
            self._sock.close()


class IncomingBody(io.RawIOBase):
    """An HTTP body as a blocking file.

    Parameters: `fd`: the socket; `initial`: what was read of the body already; `length`: its bytes, None for chunks.
    A client that goes away ends it early.
    """

    def __init__(self, fd: int, initial: bytes, length: int | None) -> None:
        self._fd = fd
        self._chunked = length is None
        # What was read ahead: the chunks of most clients are small, and a system call for each would be dear.
        self._ahead = memoryview(bytearray(max(len(initial), _AHEAD if self._chunked else 0)))
        self._ahead[: len(initial)] = initial
        self._at, self._end = 0, len(initial)
        self._left = length or 0
        self._first = True
        self._over = length == 0
        self._deadline: float | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into `buffer`; the number of bytes, 0 at the end. Raises InvalidRequest for malformed chunks."""
        whole = memoryview(buffer).cast("B")
        if not self._chunked:
            return self._some(whole)
        done = 0
        # As much as is there, chunk after chunk; waiting only for the first byte.
        while done < len(whole) and not self._over and (not done or self._at < self._end):
            if not self._left:
                self._next_chunk()
                continue
            done += self._some(whole[done:])
        return done

    def _some(self, whole: memoryview) -> int:
        """The next bytes of the current chunk (or of the whole body)."""
        if self._over:
            return 0
        count = min(len(whole), self._left)
        if self._at < self._end or self._chunked:
            if self._at == self._end:
                self._fill()
            count = min(count, self._end - self._at)
            whole[:count] = self._ahead[self._at : self._at + count]
            self._at += count
        else:
            count = self._read(whole[:count])
            self._over = not count
        self._left -= count
        if not self._left and not self._chunked:
            self._over = True
        return count

    def drain(self, seconds: float) -> None:
        """Read to the end, for so long at most."""
        self._deadline = time.monotonic() + seconds
        buffer = bytearray(1 << 18)
        try:
            while self.readinto(buffer):
                pass
        except (OSError, InvalidRequest):
            pass  # nothing more to be had

    def _fill(self) -> None:
        """Read ahead: at least a byte, or it is over."""
        rest = self._end - self._at
        self._ahead[:rest] = bytes(self._ahead[self._at : self._end])
        self._at, self._end = 0, rest
        count = self._read(self._ahead[rest:])
        self._end += count
        self._over = not count

    def _read(self, view: memoryview) -> int:
        while True:
            try:
                return os.readv(self._fd, [view])
            except BlockingIOError:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    return 0
                _wait(self._fd, select.POLLIN, left)
            except ConnectionError:
                return 0

    def _next_chunk(self) -> None:
        if not self._first and self._line() and not self._over:
            raise InvalidRequest("malformed chunked encoding")
        self._first = False
        line = self._line()
        if self._over:
            return  # cut off
        head = _CHUNK_HEAD.fullmatch(line)
        if head is None:
            raise InvalidRequest("malformed chunked encoding")
        self._left = int(head[1], 16)
        if not self._left:
            while self._line():
                pass  # trailers
            self._over = True

    def _line(self) -> bytes:
        """The next line, without its end; b"" also where the client has gone."""
        while True:
            data = bytes(self._ahead[self._at : min(self._end, self._at + _LONGEST_LINE)])
            end = data.find(b"\r\n")
            if end >= 0:
                self._at += end + 2
                return data[:end]
            if len(data) == _LONGEST_LINE:
                raise InvalidRequest("malformed chunked encoding")
            self._fill()
            if self._over:
                return b""


def _wait(fd: int, event: int, seconds: float | None = None) -> None:
    poll = select.poll()
    poll.register(fd, event)
    poll.poll(None if seconds is None else seconds * 1000)


def _hang_up(sock: socket.socket) -> None:
    try:
        sock.shutdown(2)
    except OSError:
        pass  # it has gone, or is closed
