"""Reading ahead: decompression and digests in a thread of their own, while files are written in another.

Both spend most of their time in code that holds no interpreter lock (isal, zstandard, OpenSSL; system calls), so two
processors are used for one layer.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PIECE = 1 << 20
_PIECES = 6


class Ahead(io.RawIOBase):
    """A stream, read up to a few MiB ahead of whoever reads this one.

    Reading raises what reading the source raised, after what came before it. To be closed.
    """

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self._changed = threading.Condition()
        # A buffer is at one place at a time, here or in the hands of one thread: no lock is held while bytes move.
        self._free = deque(bytearray(_PIECE) for _ in range(_PIECES))
        self._filled: deque[tuple[bytearray, int]] = deque()
        self._current = bytearray()
        self._view = memoryview(b"")
        self._ended = False
        self._left = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="dosirak-ahead", daemon=True)
        self._thread.start()

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Reads into `buffer`; returns the number of bytes, 0 at the end."""
        if not self._view and not self._next():
            return 0
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._view))
        target[:count] = self._view[:count]
        self._view = self._view[count:]
        return count

    def close(self) -> None:
        """Ends the thread, after its current read of the source: nothing touches that any more."""
        with self._changed:
            self._left = True
            self._changed.notify_all()
        self._thread.join()
        super().close()

    def _next(self) -> bool:
        """Goes on to the next buffer; False at the end."""
        with self._changed:
            if self._current:
                self._free.append(self._current)
                self._current = bytearray()
                self._changed.notify_all()
            while not (self._filled or self._ended or self._left):
                self._changed.wait()
            if self._filled:
                self._current, count = self._filled.popleft()
                self._view = memoryview(self._current)[:count]
                return True
            if self._error is not None:
                raise self._error
            return False

    def _run(self) -> None:
        ended = False
        while not ended and (buffer := self._buffer()) is not None:
            count, ended = self._fill(memoryview(buffer))
            with self._changed:
                if count:
                    self._filled.append((buffer, count))
                self._ended = ended
                self._changed.notify_all()

    def _buffer(self) -> bytearray | None:
        """One to fill; None when nobody reads any more."""
        with self._changed:
            while not self._free and not self._left:
                self._changed.wait()
            return None if self._left else self._free.popleft()

    def _fill(self, view: memoryview) -> tuple[int, bool]:
        """The number of bytes that came, and whether they are the last; an error counts as an end."""
        done = 0
        try:
            while done < len(view) and not self._left:
                count = self._source.readinto(view[done:])
                if not count:
                    return done, True
                done += count
        except BaseException as error:
            self._error = error
            return done, True
        return done, False
