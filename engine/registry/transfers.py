"""Layers on their way in: each once, whoever wants it; unpacked while it is still being downloaded."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, BinaryIO

from dosirak.engine.content import BlobWriter, Descriptor, Store
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.layers import Layers
from dosirak.engine.layers.digesting import check_diff_id
from dosirak.engine.layers.feed import consume
from dosirak.engine.layers.threads import in_thread, outlast
from dosirak.engine.registry import blobs
from dosirak.engine.registry.errors import Corrupted
from dosirak.engine.registry.model import Message, Tell

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dosirak.engine.registry.client import Client

_PROGRESS_INTERVAL = 0.1
_COPY = 1 << 20


def short(digest: str) -> str:
    """The twelve digits that progress shows."""
    return digest[7:19]


class Transfers:
    """All layers that are being brought in. On the event loop.

    A layer that two pulls want is brought once; it goes on as long as one of them waits for it.
    """

    def __init__(self, store: Store, layers: Layers) -> None:
        self._store = store
        self._layers = layers
        self._running: dict[tuple[str, str], _Transfer] = {}
        # Decompression and digests keep a processor each busy; some more, since a registry may be slow.
        self._slots = asyncio.Semaphore(max(3, (os.cpu_count() or 1) + 1))

    async def bring(self, sources: Sequence[Client], blob: Descriptor, diff_id: str, paired: bool, tell: Tell) -> None:
        """Sees to it that the blob is stored and unpacked as the layer `diff_id`. Both must be held (`Images.receive`).

        Parameters: `sources`: who has it; `paired`: it is known already that this blob unpacks to this diff ID.
        Raises InvalidRequest, RegistryError, Unreachable, Unauthorized, HostLimit.
        """
        if self._store.has(blob.digest) and self._layers.has(diff_id) and paired:
            tell(Message("Already exists", short(blob.digest), layer=True))
            return
        tell(Message("Pulling fs layer", short(blob.digest), layer=True))
        key = (blob.digest, diff_id)
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = _Transfer(
                lambda tell: self._bring(sources, blob, diff_id, tell), lambda: self._running.pop(key, None)
            )
        await running.wait(tell)

    async def _bring(self, sources: Sequence[Client], blob: Descriptor, diff_id: str, tell: Tell) -> None:
        name = short(blob.digest)
        if self._slots.locked():
            tell(Message("Waiting", name, layer=True))
        async with self._slots:
            if self._store.has(blob.digest):
                tell(Message("Download complete", name, layer=True))
                await self._unpack(blob, diff_id)
            else:
                await self._download_right(sources, blob, diff_id, tell)
            tell(Message("Pull complete", name, layer=True))

    async def _unpack(self, blob: Descriptor, diff_id: str) -> None:
        if self._layers.has(diff_id):
            # Only what was unpacked from this very blob, or is equal to it, may stand for it.
            await in_thread(check_diff_id, self._store.path(blob.digest), diff_id)
        else:
            await self._layers.ensure(diff_id, blob)

    async def _download_right(self, sources: Sequence[Client], blob: Descriptor, diff_id: str, tell: Tell) -> None:
        """Downloads it; wrong bytes are fetched once more, from another server if there is one."""
        try:
            await self._download(sources, blob, diff_id, tell)
        except Corrupted:
            await self._download(sources[1:] or sources, blob, diff_id, tell)

    async def _download(self, sources: Sequence[Client], blob: Descriptor, diff_id: str, tell: Tell) -> None:
        name = short(blob.digest)

        def work(source: BinaryIO) -> None:
            with self._store.writer() as writer:
                both = _Both(source, writer)
                failure: InvalidRequest | None = None
                try:
                    self._layers.unpack_blocking(io.BufferedReader(both, _COPY), diff_id)
                except InvalidRequest as error:
                    failure = error
                # What follows the compressed data's end counts for the digest too; and a digest that is wrong says
                # more than what the unpacker made of the wrong bytes.
                while both.read(_COPY):
                    pass
                if writer.digest != blob.digest:
                    raise Corrupted(f"filesystem layer verification failed for digest {blob.digest}")
                if failure is not None:
                    raise failure
                writer.commit(blob.media_type, digest=blob.digest, size=blob.size)

        def waiting(seconds: float) -> None:
            rounded = max(1, round(seconds))
            tell(Message(f"Retrying in {rounded} second{'s' if rounded != 1 else ''}", name, layer=True))

        await consume(self._told(blobs.download(sources, blob, waiting), blob, tell), work)

    async def _told(self, pieces: AsyncGenerator[bytes, None], blob: Descriptor, tell: Tell) -> AsyncIterator[bytes]:
        """Passes a download through, and tells how far it is."""
        name = short(blob.digest)
        done, last = 0, 0.0
        async with aclosing(pieces):
            async for piece in pieces:
                done += len(piece)
                now = time.monotonic()
                if now - last >= _PROGRESS_INTERVAL:
                    last = now
                    tell(Message("Downloading", name, done, blob.size, layer=True))
                yield piece
        tell(Message("Verifying Checksum", name, layer=True))
        tell(Message("Download complete", name, layer=True))
        tell(Message("Extracting", name, blob.size, blob.size, layer=True))


class _Both(io.RawIOBase):
    """What is read from the source, for the one who unpacks it, is written to the blob too."""

    def __init__(self, source: BinaryIO, writer: BlobWriter) -> None:
        self._source = source
        self._writer = writer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        count = self._source.readinto(view)  # type: ignore[attr-defined]  # a BufferedReader
        if count:
            self._writer.write(view[:count])
        return int(count)


class _Transfer:
    """One layer's work, shared by all who wait for it; it ends with the last of them."""

    def __init__(self, work: Callable[[Tell], Awaitable[None]], ended: Callable[[], object]) -> None:
        self._listeners: list[Tell] = []
        self._ended = ended
        self._task = asyncio.ensure_future(work(self._tell))
        self._task.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        self._ended()

    def _tell(self, message: Message) -> None:
        for tell in self._listeners:
            tell(message)

    async def wait(self, tell: Tell) -> None:
        """Waits for the end; raises what the work raised."""
        self._listeners.append(tell)
        try:
            await asyncio.wait([self._task])
        finally:
            self._listeners.remove(tell)
            # Once: when it has ended, another of the same layer may be under way.
            if not self._listeners and self._task.remove_done_callback(self._end):
                self._ended()
                self._task.cancel()
                await outlast(self._task)
        self._task.result()
