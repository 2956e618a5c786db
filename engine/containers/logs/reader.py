"""Reading a log with its rotated parts: from the beginning or the last N lines, then whatever is added."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from dosirak.engine.containers.logs.entries import FORMATS, Entry, line_count, without_lines
from dosirak.engine.containers.logs.parts import LOOKS, Part, Parts

# Parsing a chunk holds the interpreter for some 2 ms: the event loop must not wait longer.
_CHUNK = 1 << 18


class LogReader:
    """Reads one container's log. Use as a context manager. Its methods read files: not for the event loop's thread."""

    def __init__(
        self,
        path: str,
        driver: str,
        files: deque[int] | None = None,
        end: int = -1,
        coming: Callable[[], bool] = lambda: False,
    ) -> None:
        """Parameters: `files`, `coming`: see `Parts`; `end`: read no further than so many bytes of the first file."""
        self._format = FORMATS[driver]
        self._last = files[0] if files and end >= 0 else -1
        self._end = end
        self._parts = Parts(path, files, coming)
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
        if tail is None:
            self._switch(self._oldest())
            return
        for part in self._parts.backwards():
            self._switch(part)
            position, self._left_out, lines = self._format.last(part.fd, tail)
            os.lseek(part.fd, position, os.SEEK_SET)
            tail -= lines
            if tail <= 0:
                return

    def _oldest(self) -> Part | None:
        for _ in range(LOOKS):
            for named in self._parts.up_to_first():
                if part := self._parts.open(named):
                    return part
                if not self._parts.still(named):
                    break  # else it is damaged
            else:
                break
        return self._parts.first_file()  # it has no name any more

    def read(self) -> list[Entry]:
        """The next entries, at most a chunk's; [] when there are no more for now."""
        while True:
            if self._part is None:
                self.seek(None)
                if self._part is None:
                    return []
            at_end = self._last >= 0 and self._part.same(os.fstat(self._last))
            data = os.read(self._part.fd, self._left() if at_end else _CHUNK)
            if not data and at_end:
                return []
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

    def _left(self) -> int:
        assert self._part is not None
        return min(_CHUNK, max(0, self._end - os.lseek(self._part.fd, 0, os.SEEK_CUR)))

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
