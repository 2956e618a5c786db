"""An image from a root filesystem's tar, in one pass: stored, unpacked and digested as it comes in."""

from __future__ import annotations

import io
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, BinaryIO

from dosirak.engine.content import BlobWriter, Platform, Store, media_types
from dosirak.engine.images import platforms, times
from dosirak.engine.images.config import History, ImageConfig, RunConfig
from dosirak.engine.layers import LayerInfo, Layers
from dosirak.engine.layers.compression import decompressed
from dosirak.engine.layers.feed import consume

if TYPE_CHECKING:
    from typing_extensions import Buffer


class _Copying(io.RawIOBase):
    """Passes a stream through, and a copy of it into a blob."""

    def __init__(self, source: BinaryIO, blob: BlobWriter) -> None:
        self._source = source
        self._blob = blob

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Reads into `buffer`; returns the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self._source.read(len(view))
        view[: len(data)] = data
        self._blob.write(data)
        return len(data)


async def import_root(stream: AsyncIterable[bytes], store: Store, layers: Layers, made: set[str]) -> LayerInfo:
    """Makes the tar (compressed or not) a layer, its blob uncompressed; `made` gets the digest as soon as it exists.

    Raises CorruptArchive, HostLimit.
    """

    def work(source: BinaryIO) -> LayerInfo:
        with store.writer() as blob:
            copying = io.BufferedReader(_Copying(decompressed(source), blob), 1 << 20)
            unpacked = layers.unpack_blocking(copying)
            made.add(unpacked.diff_id)
            descriptor = blob.commit(media_types.LAYER, digest=unpacked.diff_id)
        return LayerInfo(unpacked.diff_id, descriptor, unpacked.size)

    return await consume(stream, work)


def import_config(config: RunConfig, message: str, platform: Platform | None = None) -> ImageConfig:
    """The document of an imported image; `message` is the history's comment, `platform` this machine's by default."""
    created = times.now()
    platform = platform or platforms.host()
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        created=created,
        comment=message,
        config=config,
        history=[History(created=created, comment=message)],
    )
