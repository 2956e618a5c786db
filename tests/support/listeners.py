"""A seccomp listener (seccomp_unotify(2)): takes what a filter asks about and refuses it, with an error of its own."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import socket
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from support.patience import patient

# linux/seccomp.h: struct seccomp_notif and seccomp_notif_resp; the same on x86_64 and aarch64
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION = struct.Struct("<QII64x")
_ANSWER = struct.Struct("<QqiI")


class Listener:
    """Listens at a path while it is entered. `states`: what came with each process; `asked`: how often it was asked."""

    def __init__(self, path: Path, error: int) -> None:
        """Parameters: `error`: what every call that is asked about fails with."""
        self.path, self._error = path, error
        self.states: list[dict[str, Any]] = []
        self.asked = 0

    def __enter__(self) -> Listener:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._stopped)
        self._thread.join()
        self._socket.close()
        os.close(self._stop)

    def come(self, number: int) -> list[dict[str, Any]]:
        """`states`, once so many are there: a process runs on while they are read."""
        deadline = time.monotonic() + patient(30)
        while len(self.states) < number and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.states

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._stop, select.POLLHUP)
        held: set[int] = set()
        while True:
            for fd, event in poll.poll():
                if fd == self._stop:
                    for one in held:
                        os.close(one)
                    return
                if fd == self._socket.fileno():
                    held.add(self._accept(poll))
                elif event & select.POLLIN:
                    self._answer(fd)
                else:  # its last process has ended
                    poll.unregister(fd)
                    held.discard(fd)
                    os.close(fd)

    def _accept(self, poll: select.poll) -> int:
        connection, _ = self._socket.accept()
        with connection:
            told, (fd,), _, _ = socket.recv_fds(connection, 1 << 16, 1)
        self.states.append(json.loads(told))
        poll.register(fd, select.POLLIN)
        return fd

    def _answer(self, fd: int) -> None:
        try:
            question = fcntl.ioctl(fd, _RECEIVE, bytes(_NOTIFICATION.size))
            self.asked += 1
            fcntl.ioctl(fd, _SEND, _ANSWER.pack(_NOTIFICATION.unpack(question)[0], 0, -self._error, 0))
        except OSError as error:
            if error.errno != errno.ENOENT:  # it has been killed meanwhile
                raise
