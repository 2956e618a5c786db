"""Streams that are digested while they are read."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dosirak.engine.layers.compression import decompressed
from dosirak.engine.layers.errors import CorruptArchive

if TYPE_CHECKING:
    from typing_extensions import Buffer

# After the end of an archive comes padding to a record (10 KiB by default, rarely a MiB), nothing else.
_MAX_TRAILER = 64 << 20


class DigestingReader(io.RawIOBase):
    """Passes a stream through; `digest` is that of what was read so far."""

    def __init__(self, source: io.BufferedIOBase) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of the bytes read so far."""
        return "sha256:" + self._hash.hexdigest()

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Reads into `buffer`; returns the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        count = self._source.readinto(view)
        self._hash.update(view[:count])
        return count


def drain(stream: BinaryIO) -> None:
    """Reads what comes after an archive's end. Raises CorruptArchive when that is more than padding could be."""
    left = _MAX_TRAILER
    while data := stream.read(1 << 20):
        left -= len(data)
        if left < 0:
            raise CorruptArchive("too much data after the end of the archive")


def check_diff_id(path: Path, diff_id: str) -> None:
    """Raises CorruptArchive unless the layer at `path`, uncompressed, has this digest. Blocking."""
    with path.open("rb") as file:
        reader = DigestingReader(decompressed(file))
        buffer = bytearray(1 << 20)
        while reader.readinto(buffer):
            pass
    if reader.digest != diff_id:
        raise CorruptArchive(f"layer digest mismatch: expected diff ID {diff_id}, got {reader.digest}")
