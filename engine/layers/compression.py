"""Decompression by magic number: gzip, zstd, xz, bzip2, plain. In this process and bounded in memory.

(Never by an `xz` or `unpigz` found on some PATH: CVE-2026-41567.) How much comes out is bounded where it goes: files by
the room on the disk, headers by their own caps (`extract`).
"""

from __future__ import annotations

import bz2
import enum
import io
import lzma
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import zstandard
from isal import igzip_lib

from dosirak.engine.layers.errors import CorruptArchive

if TYPE_CHECKING:
    # What `readinto` takes; collections.abc has it since Python 3.12.
    from typing_extensions import Buffer

# What `xz -9` and `zstd --long=27` need, the most that the formats' own tools decompress unasked.
MAX_MEMORY = 128 << 20
_CHUNK = 1 << 18
_HEAD = 6


class Compression(enum.Enum):
    """How a stream is compressed; the value is the magic number it begins with."""

    NONE = b""
    GZIP = b"\x1f\x8b"
    ZSTD = b"\x28\xb5\x2f\xfd"
    XZ = b"\xfd7zXZ\0"
    BZIP2 = b"BZh"


def detect(head: bytes) -> Compression:
    """What a stream that begins with `head` is compressed with."""
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        # A skippable frame in front, as pzstd and eStargz-like formats write it (RFC 8878, 3.1.2).
        return Compression.ZSTD
    found = (kind for kind in Compression if kind.value and head.startswith(kind.value))
    return next(found, Compression.NONE)


def decompressed(source: BinaryIO) -> io.BufferedReader:
    """The uncompressed bytes of a stream, whatever it is compressed with (nothing, gzip, zstd, xz, bzip2). Blocking.

    Reading raises CorruptArchive for truncated or broken data and for one that asks for too much memory. Closing it
    does not close `source`.
    """
    head = _read_head(source)
    kind = detect(head)
    joined = _Joined(head, source)
    if kind is Compression.NONE:
        raw: io.RawIOBase = joined
    elif kind is Compression.ZSTD:
        raw = _Zstd(joined)
    else:
        raw = _Members(joined, _DECOMPRESSORS[kind])
    return io.BufferedReader(raw, 1 << 20)


def _read_head(source: BinaryIO) -> bytes:
    head = b""
    while len(head) < _HEAD and (more := source.read(_HEAD - len(head))):
        head += more
    return head


class _Joined(io.RawIOBase):
    """A stream of which the beginning was read already."""

    def __init__(self, head: bytes, source: BinaryIO) -> None:
        self._head = head
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        if not self._head and isinstance(self._source, io.RawIOBase | io.BufferedIOBase):
            # One copy less: the plain bytes of a large file go through here.
            return self._source.readinto(buffer) or 0
        view = memoryview(buffer).cast("B")
        data = self._head[: len(view)] or self._source.read(len(view))
        self._head = self._head[len(view) :]
        view[: len(data)] = data
        return len(data)


class _Decompressor(Protocol):
    """The interface that bz2, lzma and isal share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


_DECOMPRESSORS: dict[Compression, Callable[[], _Decompressor]] = {
    Compression.GZIP: lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP),
    Compression.XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_MEMORY),
    Compression.BZIP2: bz2.BZ2Decompressor,
}


_BROKEN: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, lzma.LZMAError)
_BROKEN += (cast(type[Exception], igzip_lib.error),)


class _Members(io.RawIOBase):
    """gzip, xz, bzip2: one or more compressed members, one after the other."""

    def __init__(self, source: io.RawIOBase, make: Callable[[], _Decompressor]) -> None:
        self._source = source
        self._make = make
        self._current = make()
        self._input = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        try:
            data = self._some(len(view))
        except _BROKEN as error:
            # bz2 says "Invalid data stream" by an OSError without a number; one with a number is the source's.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise CorruptArchive(f"invalid compressed data: {error}") from error
        view[: len(data)] = data
        return len(data)

    def _some(self, limit: int) -> bytes:
        while True:
            if self._current.eof:
                self._input = self._current.unused_data or self._source.read(_CHUNK) or b""
                if not self._input:
                    return b""
                self._current = self._make()
            elif not self._input and self._current.needs_input:
                self._input = self._source.read(_CHUNK) or b""
                if not self._input:
                    raise CorruptArchive("unexpected end of the compressed data")
            # What is left of the input stays inside the decompressor.
            data = self._current.decompress(self._input, limit)
            self._input = b""
            if data:
                return data


class _Zstd(io.RawIOBase):
    """zstd: frames one after the other; the window a frame may ask for is capped."""

    def __init__(self, source: io.RawIOBase) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_MEMORY)
        self._reader = decompressor.stream_reader(cast(BinaryIO, source), read_size=_CHUNK, read_across_frames=True)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        try:
            size: int = self._reader.readinto(buffer)
        except zstandard.ZstdError as error:
            raise CorruptArchive(f"invalid compressed data: {error}") from error
        return size
