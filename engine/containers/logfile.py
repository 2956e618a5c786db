"""Reading a json-file log with its rotated parts: from the beginning or the last N entries, then whatever is added.

The file may be rotated under the reader at any time; it keeps its descriptor, and goes on with the next newer part
when that one ends.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

# Parsing a chunk holds the interpreter for some 2 ms: the event loop must not wait longer.
_CHUNK = 1 << 18
_BACKWARDS = 1 << 16


class Entry(msgspec.Struct):
    """One entry: a line of output (or a part of a very long one) with its newline."""

    log: str = ""
    stream: str = "stdout"
    time: str = ""


_decoder = msgspec.json.Decoder(Entry)


def parse(data: bytes) -> list[Entry]:
    """The entries of whole lines. A torn line (the machine went down while it was written) is left out."""
    try:
        return _decoder.decode_lines(data)
    except msgspec.DecodeError:
        return [entry for line in data.split(b"\n") if (entry := _parse_line(line)) is not None]


def _parse_line(line: bytes) -> Entry | None:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        return None


class LogReader:
    """Reads one container's log. Use as a context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._rest = b""

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def seek(self, tail: int | None) -> None:
        """Go to the beginning of the oldest part, or so that `tail` entries are left."""
        parts = self._parts()
        for number, part in enumerate(reversed(parts)):
            if not self._open(part):
                continue
            if tail is None and number < len(parts) - 1:
                continue
            if tail is not None:
                position, found = _position_of_last(self._fd, tail)
                os.lseek(self._fd, position, os.SEEK_SET)
                tail -= found
                if tail > 0 and number < len(parts) - 1:
                    continue
            return

    def _parts(self) -> list[str]:
        """The files there are, the oldest first."""
        numbered = []
        number = 1
        while Path(f"{self._path}.{number}").exists():
            numbered.append(f"{self._path}.{number}")
            number += 1
        return [*reversed(numbered), self._path]

    def _open(self, path: str) -> bool:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        self.close()
        self._fd, self._rest = fd, b""
        return True

    def read(self) -> bytes:
        """The next whole lines, at most a chunk; b"" when there are no more for now."""
        while True:
            if self._fd < 0 and not self._open(self._path):
                return b""
            data = os.read(self._fd, _CHUNK)
            if not data:
                if not self._next_part():
                    return b""
                continue
            data = self._rest + data
            end = data.rfind(b"\n") + 1
            self._rest = data[end:]
            if end:
                return data[:end]

    def _next_part(self) -> bool:
        """At the end of a part: open the next newer one, if the log was rotated. False at the end of the newest."""
        ours = os.fstat(self._fd)
        older = ""
        for part in [*self._parts()][::-1]:
            try:
                found = Path(part).stat()
            except OSError:
                continue
            if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                if older:
                    return self._open(older)
                return self._restart_if_cut(ours.st_size)
            older = part
        # Rotated out of existence: go on with the oldest part there is.
        return bool(older) and self._open(older)

    def _restart_if_cut(self, size: int) -> bool:
        """A log of a single file is cut to nothing when it is rotated."""
        if size >= os.lseek(self._fd, 0, os.SEEK_CUR):
            return False
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._rest = b""
        return True


def _position_of_last(fd: int, count: int) -> tuple[int, int]:
    """Where the last `count` lines of a file begin, and how many there are (fewer if the file has fewer)."""
    end = os.fstat(fd).st_size
    if count <= 0:
        return end, 0
    position, lines = end, 0
    while position:
        size = min(_BACKWARDS, position)
        position -= size
        block = os.pread(fd, size, position)
        # The newline that ends the file begins no further line.
        limit = len(block) - 1 if position + size == end else len(block)
        found = block.count(b"\n", 0, limit)
        if lines + found < count:
            lines += found
            continue
        at = limit
        for _ in range(count - lines):
            at = block.rindex(b"\n", 0, at)
        return position + at + 1, count
    return 0, lines + 1 if end else 0
