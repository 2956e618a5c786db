"""Decompression by magic number: gzip, zstd, xz, bzip2, plain."""

from __future__ import annotations

from typing import BinaryIO


def decompressed(source: BinaryIO) -> BinaryIO:
    """The uncompressed bytes of a stream, whatever it is compressed with (nothing, gzip, zstd, xz, bzip2). Blocking.

    Reading raises CorruptArchive for truncated or broken data and for one that asks for too much memory.
    """
    raise NotImplementedError
