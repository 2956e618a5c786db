"""A monitor's conversations with engine services: the one that asked for the launch, and later ones.

Messages are those of `wire`; with later services over `monitor.sock` in the bundle.

    to the service   started, failed, restarting, exited, detached, log, rotated (+ the new log file; also the present
                     one, to who begins to follow)
    from it          attach (+ socket), resize, follow, unfollow, policy, no_restart
"""

from __future__ import annotations

import _socket
import os
import struct
import sys
import time

from dosirak.engine.supervision import loop as loops
from dosirak.engine.supervision import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SOCKET = "monitor.sock"
# So many messages may wait for a service that does not read (it is stopped, or very busy) before it is given up.
_UNSENT = 1000
# Rotated log files are passed only up to here: each is a descriptor, and a process has a thousand.
_UNSENT_FILES = 200
# While a monitor is stopped, every service that comes up knocks and stays in the queue: none may find it full, which
# looks like a monitor that has gone.
_BACKLOG = 1000
# Seconds for which the end waits to be told.
_PATIENCE = 5.0


class Services:
    """The services that listen. None need be there: a monitor goes on without."""

    def __init__(
        self,
        loop: loops.Loop,
        on_message: Callable[[dict[str, Any], list[int]], None],
        state: Callable[[], tuple[dict[str, Any], int]],
        log_file: Callable[[], int],
    ) -> None:
        """Parameters: `on_message`: told of a message and its descriptors; `state`: what a new service is told, with a
        descriptor or -1; `log_file`: the present one, or -1."""
        self._loop, self._on_message, self._state, self._log_file = loop, on_message, state, log_file
        self._unsent: dict[wire.Socket, list[tuple[bytes, int]]] = {}
        self._listener: wire.Socket | None = None
        self._seen = 0  # grows with the log; what followers have seen is told by this number
        self._followers: dict[wire.Socket, int] = {}  # those that wait to be told
        self._reading: set[wire.Socket] = set()  # those that are passed each new log file
        self._missing: set[wire.Socket] = set()  # those of them that were not passed one, and are to be told so

    def add(self, service: wire.Socket) -> None:
        """Talk to one more."""
        service.setblocking(False)
        self._unsent[service] = []
        self._watch(service)

    def tell(self, message: dict[str, Any], fd: int = -1) -> None:
        """Tell all, passing a descriptor."""
        for service in list(self._unsent):
            self._send(service, message, fd)

    def finish(self) -> None:
        """Send what still waits to those who read it within a while: this process ends."""
        deadline = time.monotonic() + _PATIENCE
        for service in list(self._unsent):
            service.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                for data, fd in self._unsent[service]:
                    wire.send(service, data, [fd] if fd >= 0 else [])
            except OSError:
                continue  # exit.json tells it

    def close(self) -> None:
        """Talk to nobody any more: to them this process has ended."""
        for service in list(self._unsent):
            self._drop(service)
        if self._listener is not None:
            self._loop.forget(self._listener.fileno())
            self._listener.close()

    def listen(self, bundle: int) -> None:
        """Wait for later services. `bundle`: its directory. Raises OSError."""
        # bind(2) takes 107 bytes of path: a name in the working directory is always short enough.
        os.fchdir(bundle)
        try:
            os.unlink(SOCKET)
        except FileNotFoundError:
            pass
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        listener.bind(SOCKET)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        os.chdir("/")
        self._listener = listener
        self._loop.watch(listener.fileno(), loops.IN, lambda _events: self._accept())

    def log_grew(self) -> None:
        """Tell those who follow the log."""
        self._seen += 1
        if self._followers:
            self._tell_followers()

    def log_rotated(self, fd: int) -> None:
        """Pass the new log file to those who read along: by its name they may come too late."""
        for service in list(self._reading):
            self._pass_file(service, fd)

    def _pass_file(self, service: wire.Socket, fd: int) -> None:
        if fd >= 0 and len(self._unsent[service]) < _UNSENT_FILES:
            self._send(service, {"event": "rotated"}, fd)
        else:
            self._missing.add(service)

    def _tell_followers(self) -> None:
        """A follower is told once, and again after it has asked again: no queue can grow."""
        for service, seen in list(self._followers.items()):
            if seen != self._seen:
                del self._followers[service]
                self._send(service, {"event": "log", "seen": self._seen, "missed": service in self._missing})
                self._missing.discard(service)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        service = _socket.socket(fileno=fd)
        credentials = service.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] not in (0, os.geteuid()):
            service.close()
            return
        self.add(service)
        self._send(service, *self._state())

    def _watch(self, service: wire.Socket) -> None:
        events = loops.IN | (loops.OUT if self._unsent[service] else 0)
        self._loop.watch(service.fileno(), events, lambda events: self._ready(service, events))

    def _ready(self, service: wire.Socket, events: int) -> None:
        if events & loops.OUT:
            self._send_waiting(service)
        if events & (loops.IN | loops.GONE) and service in self._unsent:
            self._receive(service)

    def _receive(self, service: wire.Socket) -> None:
        try:
            data, fds = wire.receive(service, 8)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._drop(service)
            return
        try:
            message = wire.unpack(data)
            if message["op"] == "follow":
                self._followers[service] = message["seen"]
                if service not in self._reading:
                    self._reading.add(service)
                    self._pass_file(service, self._log_file())
                self._tell_followers()
            elif message["op"] == "unfollow":
                self._read_no_more(service)
            else:
                self._on_message(message, fds)
        except Exception as error:  # whatever a service asks: the container must not die of it
            report(error)

    def _send(self, service: wire.Socket, message: dict[str, Any], fd: int = -1) -> None:
        unsent = self._unsent[service]
        if len(unsent) >= _UNSENT:
            self._drop(service)
            return
        # A duplicate: by the time this is sent, the caller may have closed its own.
        unsent.append((wire.pack(message), os.dup(fd) if fd >= 0 else -1))
        if len(unsent) == 1:
            self._send_waiting(service)

    def _send_waiting(self, service: wire.Socket) -> None:
        unsent = self._unsent[service]
        try:
            while unsent:
                data, fd = unsent[0]
                wire.send(service, data, [fd] if fd >= 0 else [])
                unsent.pop(0)
                if fd >= 0:
                    os.close(fd)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(service)
            return
        self._watch(service)

    def _read_no_more(self, service: wire.Socket) -> None:
        self._followers.pop(service, None)
        self._reading.discard(service)
        self._missing.discard(service)

    def _drop(self, service: wire.Socket) -> None:
        for _, fd in self._unsent.pop(service):
            if fd >= 0:
                os.close(fd)
        self._read_no_more(service)
        self._loop.forget(service.fileno())
        service.close()


def report(error: BaseException) -> None:
    """A defect of ours: on the launcher's stderr, which is the service's log."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
    sys.stderr.write(f"dosirak monitor: {type(error).__name__}: {error} at {place}\n")
    sys.stderr.flush()
