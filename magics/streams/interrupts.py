"""SIGINT while a container runs in the foreground: counted, not raised.

A KeyboardInterrupt could strike in the middle of a write or of a request. Here the signal only wakes the loop that
reads the container's streams, and the loop decides. Outside the main thread (where Python takes no signals) nothing
is installed and the default behaviour stays.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """`with Interrupts() as interrupts:` `fileno()` becomes readable at each signal; `take()` says which came."""

    def __init__(self, numbers: tuple[int, ...] = (signal.SIGINT,)) -> None:
        self.count = 0
        self._numbers = numbers
        self._pending: list[int] = []
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        for number, former in self._former.items():
            signal.signal(number, former if former is not None else signal.SIG_DFL)
        os.close(self._reader)
        os.close(self._writer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self._pending.append(number)
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"!")

    def fileno(self) -> int:
        """Return the descriptor that wakes a selector."""
        return self._reader

    def take(self) -> list[int]:
        """Return the signals that came since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 1024)
        taken, self._pending = self._pending, []
        return taken
