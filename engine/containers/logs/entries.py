"""The two formats of log files as entries: json-file (Docker's) and local (`supervision/logs/locallog.py`). Pure."""

from __future__ import annotations

import os
from typing import Protocol

import msgspec

from dosirak.engine.go import rfc3339
from dosirak.engine.supervision.logs.locallog import FOOTER, HEADER, LONGEST_RECORD

_BACKWARDS = 1 << 16
_AROUND = HEADER.size + FOOTER.size
_STREAMS = {1: "stdout", 2: "stderr"}


class Entry(msgspec.Struct, gc=False):
    """What was logged at one moment: of a json-file one line (or part of a very long one), of a local log any number
    of lines. `log`: with newlines; bytes that are no UTF-8 as surrogates."""

    log: str = ""
    stream: str = "stdout"
    time: str = ""
    attrs: dict[str, str] | None = None


class Format(Protocol):
    """How entries stand in a file."""

    def whole(self, data: bytes) -> int:
        """How many bytes at the beginning are whole entries."""

    def parse(self, data: bytes) -> list[Entry]:
        """Whole entries."""

    def last(self, fd: int, count: int) -> tuple[int, int, int]:
        """Where the last `count` lines of a file begin, how many lines to leave out from there on, and how many lines
        that gives (fewer if the file has fewer)."""


_decoder = msgspec.json.Decoder(Entry)


class JsonFormat:
    """json-file."""

    def whole(self, data: bytes) -> int:
        """See `Format`."""
        return data.rfind(b"\n") + 1

    def parse(self, data: bytes) -> list[Entry]:
        """See `Format`. A torn line (the machine went down while it was written) is left out."""
        try:
            return _decoder.decode_lines(data)
        except msgspec.DecodeError:
            return [entry for line in data.split(b"\n") if (entry := _parse_line(line)) is not None]

    def last(self, fd: int, count: int) -> tuple[int, int, int]:
        """See `Format`."""
        end = os.fstat(fd).st_size
        if count <= 0:
            return end, 0, 0
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
            return position + at + 1, 0, count
        return 0, 0, lines + 1 if end else 0


def _parse_line(line: bytes) -> Entry | None:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        return None


class LocalFormat:
    """local."""

    def whole(self, data: bytes) -> int:
        """See `Format`."""
        at = 0
        while len(data) - at >= HEADER.size:
            _, length, _ = HEADER.unpack_from(data, at)
            if length > LONGEST_RECORD:
                return len(data)  # damaged: nothing behind it can be read
            if at + length + _AROUND > len(data):
                break
            at += length + _AROUND
        return at

    def parse(self, data: bytes) -> list[Entry]:
        """See `Format`."""
        found, at = [], 0
        while len(data) - at >= _AROUND:
            stream, length, moment = HEADER.unpack_from(data, at)
            if length > LONGEST_RECORD:
                break
            begin = at + HEADER.size
            text = data[begin : begin + length].decode("utf-8", "surrogateescape")
            found.append(Entry(text, _STREAMS.get(stream, "stdout"), rfc3339(moment)))
            at += length + _AROUND
        return found

    def last(self, fd: int, count: int) -> tuple[int, int, int]:
        """See `Format`."""
        position, lines = os.fstat(fd).st_size, 0
        while position >= _AROUND and lines < count:
            (length,) = FOOTER.unpack(os.pread(fd, FOOTER.size, position - FOOTER.size))
            if not _AROUND <= length <= position:
                break
            record = os.pread(fd, length - _AROUND, position - length + HEADER.size)
            lines += line_count(record)
            position -= length
        return position, max(0, lines - count), min(lines, count)


def line_count(data: bytes) -> int:
    """Lines, an unfinished one included."""
    return data.count(b"\n") + (not data.endswith(b"\n"))


def without_lines(text: str, count: int) -> str:
    """The text without its first lines."""
    at = 0
    for _ in range(count):
        at = text.index("\n", at) + 1
    return text[at:]


FORMATS: dict[str, Format] = {"json-file": JsonFormat(), "local": LocalFormat()}
"""By the name of the driver."""
