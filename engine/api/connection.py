"""One client's connection: aiohttp's HTTP protocol, plus who may connect and how a raw stream is taken out of it.

aiohttp has no public way to hand a connection over. It is done here with its public protocol methods only: a request
that may take its connection over is fed to the parser up to its last byte, what follows stays here, and reading
pauses. If the handler takes the connection (`take`), it gets a duplicate of the socket and those bytes; aiohttp then
closes its own descriptor, which ends nothing: closing is not shutdown(2) while the duplicate is open.
"""

from __future__ import annotations

import asyncio
import http
import os
import select
import socket
import struct
from typing import TYPE_CHECKING, Any

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from dosirak.engine.api import framing, reply
from dosirak.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest
    from aiohttp.web_response import StreamResponse


class Connection(RequestHandler):
    """One accepted connection on the engine's unix socket."""

    __slots__ = (
        "_between",
        "_half_closed",
        "_hangup",
        "_held",
        "_pending",
        "_request",
        "_stream",
        "_whole",
        "watching",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Between two requests the next bytes begin a head; they are kept in `_pending` until it is complete.
        self._between = True
        self._pending = bytearray()
        # `_pending` begins with a request that may take over: it goes to the parser when it is whole.
        self._whole = False
        # What came behind such a request; None when there is none.
        self._held: bytearray | None = None
        # The request being handled.
        self._request: BaseRequest | None = None
        # The client sends no more, and still reads.
        self._half_closed = False
        # Says that it has closed the other side too.
        self._hangup: select.epoll | None = None
        # The task of a handler that streams: it ends with its client.
        self._stream: asyncio.Task[Any] | None = None
        # The request being handled only looks on.
        self.watching = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio. A peer that is neither this user nor root is cut off before it says a word."""
        super().connection_made(transport)
        if not _trusted(transport.get_extra_info("socket")):
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by asyncio. A streaming handler is cancelled; any other goes on, as in Docker."""
        super().connection_lost(exc)
        if self._hangup is not None:
            self._loop.remove_reader(self._hangup.fileno())
            self._hangup.close()
        self.end_stream()

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp's says None, and would close: asyncio asks this
        """Called by asyncio when the client closes its writing side (`nc -N`): what it has asked is still answered.

        Go's server, Docker's, cancels the request's context then, which ends a stream: here it goes on to its reader.
        """
        if self._between or self._payload_parser is not None:
            return False  # nothing was asked, or a WebSocket ended without its closing words
        self._half_closed = True
        if self._whole:
            self._whole = False
            super().data_received(bytes(self._pending))
        self._cut_body()
        self._watch_hangup()
        return True

    def _cut_body(self) -> None:
        """A body that is not whole will not become so: its reader is told."""
        if self._half_closed and self._request is not None and not self._request.content.is_eof():
            self._request.content.set_exception(framing.CutOff("unexpected EOF"))

    def _watch_hangup(self) -> None:
        """asyncio looks no more at a connection without input; the kernel says EPOLLHUP unasked."""
        if self.transport is not None:
            self._hangup = select.epoll()
            self._hangup.register(self.transport.get_extra_info("socket").fileno(), 0)
            self._loop.add_reader(self._hangup.fileno(), self.transport.abort)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        """Called by aiohttp for what is no HTTP, and for what a handler let through. Answered as Go's server does."""
        if not isinstance(exc, ConnectionError):  # a client that went away is no error of ours
            log = self.log_debug if status < 500 else self.log_exception
            log("Error handling request", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun: it can only be cut off")
        words = f"{status} {http.HTTPStatus(status).phrase}"
        response = reply.text(f"{words}: {message.splitlines()[0]}" if message else words, status)
        response.force_close()
        return response

    def end_stream(self) -> None:
        """Cancel the handler if it streams."""
        if self._stream is not None:
            self._stream.cancel()

    def end_with_client(self) -> None:
        """Cancel the handler that calls this when its client goes away (logs -f, events, a build)."""
        self._stream = asyncio.current_task()
        if self.transport is None and self._stream is not None:
            self._stream.cancel()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with what the client sent, and by aiohttp itself with b"" to go on parsing."""
        if not data:
            super().data_received(data)
        elif self._held is not None:
            self._hold(data)
        elif self._between or self._whole:
            self._pending += data
            self._sort_pending()
        else:
            super().data_received(data)

    def _sort_pending(self) -> None:
        if self._between:
            if framing.head_end(self._pending) < 0:
                if len(self._pending) > framing.HEAD_LIMIT:
                    self._refuse_head()
                return
            self._between = False
            self._whole = framing.takes_over(self._pending)
        end = framing.request_end(self._pending) if self._whole else len(self._pending)
        if end < 0:
            return
        request, rest = bytes(self._pending[:end]), self._pending[end:]
        self._pending = bytearray()
        if self._whole:
            self._whole = False
            self._held = bytearray()
            self._hold(rest)
        super().data_received(request)

    def _refuse_head(self) -> None:
        """aiohttp limits each line of a head and their number, not the whole."""
        self._pending = bytearray()
        if self.transport is not None:
            self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n")
        self.force_close()

    def _hold(self, data: bytes | bytearray) -> None:
        assert self._held is not None
        self._held += data
        # The rest waits in the kernel, where the one who takes the socket finds it. So does the client's end of
        # file: a half-closed connection is one that asyncio would close.
        self._pause()

    def _pause(self) -> None:
        if self.transport is not None and self.transport.is_reading():
            self.transport.pause_reading()

    def request_begun(self, request: BaseRequest) -> None:
        """Called by the dispatcher before a request's handler."""
        self._request = request
        self._cut_body()

    def request_answered(self, whole: bool = True) -> None:
        """Called by the dispatcher when a request's handler has returned: the next bytes begin a new request.

        Not so if the request's body has not come `whole`: what comes then is the rest of it, which aiohttp drops.
        """
        self._request = self._stream = None
        self.watching = False
        if self._held is None:
            self._between = whole and not self._messages

    @property
    def can_be_taken(self) -> bool:
        """Whether the request being handled stands alone, so that its connection can become a raw stream."""
        return self._held is not None and self.transport is not None

    @property
    def is_last(self) -> bool:
        """Whether no request can follow on this connection: the client has closed its side, or what it sends is kept
        from the parser."""
        return self.can_be_taken or (self._half_closed and not self._messages)

    def take(self) -> tuple[socket.socket, bytes]:
        """Take the connection away: the socket (the caller's own now) and the bytes read behind the request.

        The handler must answer on it itself and return `hijack.TAKEN`. Raises InvalidRequest when the client
        has sent the request in a way that makes the stream's beginning unknowable (pipelined behind another).
        """
        transport = self.transport
        if self._held is None or transport is None:
            raise InvalidRequest("this request needs a connection of its own (it was pipelined behind another)")
        self._pause()
        taken = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        taken.setblocking(False)
        return taken, bytes(self._held)


def _trusted(peer: socket.socket | None) -> bool:
    """SO_PEERCRED, unix(7): who connected, by the kernel's word; a second lock behind the socket's mode."""
    if peer is None or peer.family != socket.AF_UNIX:
        return False
    _, uid, _ = struct.unpack("iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (0, os.geteuid())


class ConnectionServer(Server):
    """Makes a `Connection` for each accepted client and counts them in `made`."""

    made = 0

    def __call__(self) -> RequestHandler:
        """Called by asyncio for each accepted connection."""
        self.made += 1
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            # A build's arguments and filters travel in the query, a registry configuration in a header.
            max_line_size=framing.HEAD_LIMIT,
            max_field_size=framing.HEAD_LIMIT,
            auto_decompress=False,
            keepalive_timeout=3600.0,
            lingering_time=10.0,
        )
