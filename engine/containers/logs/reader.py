"""Reading a log with its rotated parts: from the beginning or the last N lines, then whatever is added."""

from __future__ import annotations

import os
from collections import deque

from dosirak.engine.containers.logs.entries import FORMATS, Entry, line_count, without_lines
from dosirak.engine.containers.logs.parts import Part, Parts

# Parsing a chunk holds the interpreter for some 2 ms: the event loop must not wait longer.
_CHUNK = 1 << 18


class LogReader:
    """Reads one container's log. Use as a context manager. Its methods read files: not for the event loop's thread."""

    def __init__(self, path: str, driver: str, files: deque[int] | None = None) -> None:
        """Parameters: `files`: see `Parts`."""
        self._format = FORMATS[driver]
        self._parts = Parts(path, files)
        self._part: Part | None = None
        self._rest = b""
        self._left_out = 0

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._switch(None)

    def _switch(self, part: Part | None) -> None:
        if self._part is not None:
            self._part.close()
        self._part, self._rest = part, b""

    def seek(self, tail: int | None) -> None:
        """Go to the beginning of the oldest part, or so that `tail` lines are left."""
        found = self._parts.all()
        for named in found if tail is None else reversed(found):
            part = self._parts.open(named)
            if part is None:
                continue
            self._switch(part)
            if tail is None:
                return
            position, self._left_out, lines = self._format.last(part.fd, tail)
            os.lseek(part.fd, position, os.SEEK_SET)
            tail -= lines
            if tail <= 0:
                return

    def read(self) -> list[Entry]:
        """The next entries, at most a chunk's; [] when there are no more for now."""
        while True:
            if self._part is None:
                self.seek(None)
                if self._part is None:
                    return []
            data = os.read(self._part.fd, _CHUNK)
            if not data:
                following = self._parts.after(self._part)
                if following is None and not self._cut():
                    return []
                if following is None:
                    continue
                # It was full before the next one was begun, but perhaps not yet when it was read to its end.
                data = os.read(self._part.fd, _CHUNK)
                if not data:
                    self._switch(following)
                    continue
                following.close()
            entries = self._entries(data)
            if entries:
                return entries

    def _cut(self) -> bool:
        """Whether somebody has cut the file to less than was read: it is read from its beginning then."""
        assert self._part is not None
        if os.fstat(self._part.fd).st_size >= os.lseek(self._part.fd, 0, os.SEEK_CUR):
            return False
        os.lseek(self._part.fd, 0, os.SEEK_SET)
        self._rest = b""
        return True

    def _entries(self, data: bytes) -> list[Entry]:
        data = self._rest + data
        end = self._format.whole(data)
        self._rest = data[end:]
        entries = self._format.parse(data[:end])
        while self._left_out and entries:
            lines = line_count(entries[0].log.encode("utf-8", "surrogateescape"))
            if lines > self._left_out:
                entries[0].log, self._left_out = without_lines(entries[0].log, self._left_out), 0
            else:
                self._left_out -= lines
                del entries[0]
        return entries
