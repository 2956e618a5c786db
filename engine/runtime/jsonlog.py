"""The container's log file in Docker's json-file format: one JSON object a line, with rotation.

    {"log":"hello\\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}

An entry is a line of output; a line longer than 16 KiB is split, its parts without the newline, as Docker does (but
never inside a character).
"""

from __future__ import annotations

import os
import time
from json.encoder import encode_basestring

_LONGEST = 16384


class JsonLog:
    """Appends output to a log file. A write that fails (disk full) loses those entries, never the container."""

    def __init__(self, path: str, max_size: int = 0, max_files: int = 1) -> None:
        """Parameters: `max_size` in bytes, 0 for no rotation; `max_files` kept, the current one included."""
        self.path, self.max_size, self.max_files = path, max_size, max_files
        self._partial: dict[str, bytes] = {}
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self.size = os.fstat(self._fd).st_size

    def write(self, stream: str, data: bytes) -> None:
        """Log what `stream` ("stdout", "stderr") wrote; an unfinished line waits for its end."""
        partial = self._partial.pop(stream, b"")
        if partial:
            data = partial + data
        end = data.rfind(b"\n") + 1
        while len(data) - end > _LONGEST:
            end = _cut(data, end)
        if end < len(data):
            self._partial[stream] = data[end:]
        if end:
            self._append(stream, data[:end])

    def flush(self) -> None:
        """Log unfinished lines as they are: the container has ended."""
        for stream, rest in sorted(self._partial.items()):
            self._append(stream, rest)
        self._partial.clear()

    def _append(self, stream: str, data: bytes) -> None:
        tail = f'","stream":"{stream}","time":"{timestamp(time.time_ns())}"}}\n'
        if b"\\" not in data and len(max(data.split(b"\n"), key=len)) < _LONGEST:
            text = data.decode("utf-8", "replace")
            # No backslash in the output: each escaped newline of the whole is a real one, so one pass does all lines.
            body = encode_basestring(text)[1:].removesuffix('"')
            record = ('{"log":"' + body).replace("\\n", "\\n" + tail + '{"log":"')
            record = record.removesuffix('{"log":"') if text.endswith("\n") else record + tail
        else:
            lines = [encode_basestring(line.decode("utf-8", "replace"))[:-1] for line in _lines(data)]
            record = "".join([f'{{"log":{line}{tail}' for line in lines])
        self._write(record.encode())

    def _write(self, record: bytes) -> None:
        try:
            if self._fd < 0:
                self._open()
            if self.max_size and self.size + len(record) > self.max_size:
                self._write_rotating(record)
            else:
                self._put(record)
        except OSError:
            return

    def _write_rotating(self, record: bytes) -> None:
        """As many whole entries as a file takes, then the next file."""
        at = 0
        while at < len(record):
            end = record.rfind(b"\n", at, at + max(0, self.max_size - self.size)) + 1
            if end <= at:
                if self.size:
                    self._rotate()
                    continue
                end = record.index(b"\n", at) + 1  # longer than a file may be: kept whole all the same
            self._put(record[at:end])
            at = end

    def _put(self, record: bytes) -> None:
        before = self.size
        view = memoryview(record)
        try:
            while view:
                written = os.write(self._fd, view)
                self.size += written
                view = view[written:]
        except OSError:
            # A full disk: what comes later must not stand behind half an entry.
            os.ftruncate(self._fd, before)
            self.size = before
            raise

    def _rotate(self) -> None:
        # -1 at once: should what follows fail, the number may soon be somebody else's descriptor.
        fd, self._fd = self._fd, -1
        os.close(fd)
        for number in range(self.max_files - 1, 0, -1):
            newer = f"{self.path}.{number - 1}" if number > 1 else self.path
            try:
                os.rename(newer, f"{self.path}.{number}")
            except FileNotFoundError:
                continue
        if self.max_files <= 1:
            os.truncate(self.path, 0)
        self._open()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)


def _cut(data: bytes, start: int) -> int:
    """Where an entry that starts at `start` ends at the latest. Backs off to the start of a UTF-8 character; where
    there is none in the last four bytes, it is no UTF-8."""
    end = start + _LONGEST
    return next((at for at in range(end, end - 4, -1) if data[at] & 0xC0 != 0x80), end)


def _lines(data: bytes) -> list[bytes]:
    """Lines with their newlines, cut at the longest entry. Only "\n" ends a line."""
    found = []
    at = 0
    while at < len(data):
        end = data.find(b"\n", at) + 1 or len(data)
        if end - at > _LONGEST:
            end = _cut(data, at)
        found.append(data[at:end])
        at = end
    return found


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, UTC, as Docker writes times."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    moment = time.gmtime(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{fraction:09d}Z"
