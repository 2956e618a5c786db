"""The container's log file in Docker's json-file format: one JSON object a line, with rotation.

    {"log":"hello\\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}

An entry is a line of output; a line longer than 16 KiB is split, its parts without the newline, as Docker does.
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
        rest = data[end:]
        if len(rest) > _LONGEST:
            end += len(rest) - len(rest) % _LONGEST
            rest = data[end:]
        if rest:
            self._partial[stream] = rest
        if end:
            self._append(stream, data[:end])

    def flush(self) -> None:
        """Log unfinished lines as they are: the container has ended."""
        for stream, rest in sorted(self._partial.items()):
            self._append(stream, rest)
        self._partial.clear()

    def _append(self, stream: str, data: bytes) -> None:
        tail = f'","stream":"{stream}","time":"{timestamp(time.time_ns())}"}}\n'
        text = data.decode("utf-8", "replace")
        if "\\" not in text and len(max(text.split("\n"), key=len)) < _LONGEST:
            # No backslash in the output: each escaped newline of the whole is a real one, so one pass does all lines.
            body = encode_basestring(text)[1:].removesuffix('"')
            record = ('{"log":"' + body).replace("\\n", "\\n" + tail + '{"log":"')
            record = record.removesuffix('{"log":"') if text.endswith("\n") else record + tail
        else:
            record = "".join([f'{{"log":{encode_basestring(line)[:-1]}{tail}' for line in _lines(text)])
        self._write(record.encode())

    def _write(self, record: bytes) -> None:
        try:
            if self.max_size and self.size and self.size + len(record) > self.max_size:
                self._rotate()
            view = memoryview(record)
            while view:
                written = os.write(self._fd, view)
                self.size += written
                view = view[written:]
        except OSError:
            return

    def _rotate(self) -> None:
        os.close(self._fd)
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
        os.close(self._fd)


def _lines(text: str) -> list[str]:
    """Lines with their newlines, cut at the longest entry. Only "\\n" ends a line (str.splitlines knows more)."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return [line[at : at + _LONGEST] for line in lines for at in range(0, len(line), _LONGEST)]


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, UTC, as Docker writes times."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    moment = time.gmtime(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{fraction:09d}Z"
