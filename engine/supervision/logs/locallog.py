"""The container's log in a compact format of our own: `--log-driver local`. Bytes stay as they were.

A record is what one read gave: lines, the last of which has no newline if it goes on in the next record of its stream.

    stream (1 byte)   length of the lines (4)   unix time in nanoseconds (8)   lines   length of the record (4)

Numbers are little-endian; the last one is for reading from the end.
"""

from __future__ import annotations

import os
import struct
import time

from dosirak.engine.supervision.logs.rotating import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADER = struct.Struct("<BIQ")
FOOTER = struct.Struct("<I")
_AROUND = HEADER.size + FOOTER.size
# A record holds no more than one read and an unfinished line: what says so is none.
LONGEST_RECORD = 1 << 20


class LocalLog(Log):
    """`--log-driver local`."""

    def __init__(self, path: str, **options: Any) -> None:
        """Parameters: as for `Log`. Raises OSError."""
        super().__init__(path, **options)
        if self.size:
            self._cut_torn()

    def _append(self, stream: int, data: bytes) -> None:
        now, at = time.time_ns(), 0
        while at < len(data):
            end = self._fitting(data, at, _AROUND)
            length = end - at
            self._put(HEADER.pack(stream, length, now) + data[at:end] + FOOTER.pack(length + _AROUND))
            at = end

    def _cut_torn(self) -> None:
        """The machine may have gone down in the middle of a record: what follows must not be taken for its rest."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            (length,) = FOOTER.unpack(os.pread(fd, FOOTER.size, max(0, self.size - FOOTER.size)).ljust(FOOTER.size))
            if _whole_at(fd, self.size - length) == self.size:
                return
            end = 0
            while (following := _whole_at(fd, end)) > 0:
                end = following
        finally:
            os.close(fd)
        os.ftruncate(self._fd, end)
        self.size = end


def _whole_at(fd: int, at: int) -> int:
    """Where the record that begins at `at` ends; -1 when there is no whole one."""
    head = os.pread(fd, HEADER.size, at) if at >= 0 else b""
    if len(head) < HEADER.size:
        return -1
    _, length, _ = HEADER.unpack(head)
    if length > LONGEST_RECORD:
        return -1
    foot = os.pread(fd, FOOTER.size, at + HEADER.size + length)
    return at + length + _AROUND if foot == FOOTER.pack(length + _AROUND) else -1
