"""Starts `compress.py` when a log has been rotated: one at a time, and once more if it was rotated meanwhile."""

from __future__ import annotations

import os
import sys

from dosirak.engine.supervision import loop as loops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dosirak.engine.supervision.logs.rotating import Log

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compress.py")


class Compressor:
    """For one log. It need not be waited for: the program finishes what it is at when this process ends."""

    def __init__(self, loop: loops.Loop, log: Log) -> None:
        self._loop, self._log = loop, log
        self._pid, self._again = 0, False

    @property
    def busy(self) -> bool:
        """Whether a program is at work."""
        return bool(self._pid)

    def rotated(self) -> None:
        """There is a part to be compressed."""
        if self._pid:
            self._again = True
            return
        try:
            arguments = [sys.executable, "-S", "-E", "-I", _PROGRAM, self._log.path, str(self._log.max_files)]
            pid = self._pid = os.posix_spawn(sys.executable, arguments, {})
            pidfd = os.pidfd_open(pid)
        except OSError:
            self._pid = 0  # the part stays as it is; the next rotation tries again
            return
        self._loop.watch(pidfd, loops.IN, lambda _events: self._ended(pid, pidfd))

    def finish(self) -> None:
        """This process ends: the program may have looked for the last time before the last rotation."""
        if self._again:
            self._start_again()

    def _ended(self, pid: int, pidfd: int) -> None:
        self._loop.forget(pidfd)
        os.close(pidfd)
        os.waitpid(pid, 0)
        if pid == self._pid:
            self._pid = 0
            if self._again:
                self._start_again()

    def _start_again(self) -> None:
        self._pid, self._again = 0, False
        self.rotated()
