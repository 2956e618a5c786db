"""The service's end of a conversation with one monitor (the monitor's end and the messages stand in `services`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dosirak.engine.supervision import services, wire


class Conversation:
    """Messages with one monitor over its socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._first: asyncio.Future[tuple[dict[str, Any] | None, int]] = self._loop.create_future()
        self._listener: Callable[[dict[str, Any] | None, int], None] | None = None
        self._early: list[tuple[dict[str, Any] | None, int]] = []
        self.closed = asyncio.Event()
        self.on_close: Callable[[], None] | None = None
        self._loop.add_reader(sock.fileno(), self._readable)

    async def first(self) -> tuple[dict[str, Any] | None, int]:
        """The first message: how the launch went. None when the monitor hung up without one."""
        return await asyncio.shield(self._first)

    def first_is_late(self) -> None:
        """Nobody waits for the first message any more: it goes to the listener, as all others."""
        self._first.cancel()

    def catch_up(self) -> None:
        """Read what has come by now."""
        self._readable()

    def abandon(self) -> None:
        """Nobody wants the process that is being started: end it as soon as it is there."""

        def end(started: asyncio.Future[tuple[dict[str, Any] | None, int]]) -> None:
            _, fd = started.result()
            if fd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    self.send({"op": "no_restart"})
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                os.close(fd)
            self.listen(lambda _message, _fd: None)

        self._first.add_done_callback(end)

    def say(self, word: bytes) -> None:
        """The word that a monitor waits for before its process may run. Raises ProcessLookupError when it is gone."""
        try:
            wire.send(self._sock, word)
        except OSError as error:
            raise ProcessLookupError(3, "the process has ended") from error

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Tell the monitor something. Raises ProcessLookupError when it is gone."""
        try:
            wire.send(self._sock, wire.pack(message), fds)
        except OSError as error:
            raise ProcessLookupError(3, "the process has ended") from error

    def close(self) -> None:
        """Hang up."""
        if not self.closed.is_set():
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self.closed.set()
            if self.on_close:
                self.on_close()

    def _readable(self) -> None:
        while not self.closed.is_set():
            try:
                data, fds = wire.receive(self._sock, 4)
            except BlockingIOError:
                return
            except ConnectionResetError:
                # The monitor left with a message of ours unread ("follow"): the kernel reports that once, ahead of the
                # messages that it sent before. The next call gives those, or the end.
                continue
            except OSError:
                data, fds = b"", []
            message = wire.unpack(data) if data else None
            if message is None:
                self.close()
            self._deliver(message, fds[0] if fds else -1)

    def listen(self, listener: Callable[[dict[str, Any] | None, int], None]) -> None:
        """Hand the messages after the first one to `listener`, from the next round of the event loop on."""
        self._listener = listener
        self._loop.call_soon(self._flush)

    def _deliver(self, message: dict[str, Any] | None, fd: int) -> None:
        if not self._first.done():
            self._first.set_result((message, fd))
        elif self._listener is None or self._early:
            self._early.append((message, fd))
        else:
            self._listener(message, fd)

    def _flush(self) -> None:
        assert self._listener is not None
        early, self._early = self._early, []
        for message, fd in early:
            self._listener(message, fd)


def connect(bundle: Path) -> Conversation | None:
    """A conversation with the monitor of a bundle; None where there is none."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        directory = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # The whole path may be longer than the 107 bytes that connect(2) takes.
            sock.connect(f"/proc/self/fd/{directory}/{services.SOCKET}")
        finally:
            os.close(directory)
    except OSError:
        sock.close()
        return None
    return Conversation(sock)
