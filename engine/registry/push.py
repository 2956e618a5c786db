"""Pushing one image: what the registry lacks of its blobs, then its manifest. The bytes are those of the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from dosirak.engine.content import Descriptor, Store
from dosirak.engine.images import documents
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.registry import uploads
from dosirak.engine.registry.model import Message, Pushed, Tell
from dosirak.engine.registry.transfers import short

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dosirak.engine.images import Image
    from dosirak.engine.registry.client import Client

_AT_ONCE = 5
_PIECE = 1 << 20
_PROGRESS_INTERVAL = 0.1


async def layers(
    image: Image,
    client: Client,
    store: Store,
    pack: Callable[[Descriptor, str], Awaitable[Descriptor]],
    elsewhere: Callable[[str], Sequence[str]],
    tell: Tell,
) -> list[Descriptor]:
    """Sees to it that the client's repository has the image's layers. To be called with the image's blobs held.

    Parameters: `pack` (blob, diff ID → the blob to push in its place); `elsewhere` (blob's digest → repositories of
    this registry that have it, as far as is known here). Returns the blobs that were pushed, one for each layer.
    Raises RegistryError, Unreachable, Unauthorized, HostLimit, NotFound when a blob is gone.
    """
    slots = asyncio.Semaphore(_AT_ONCE)
    # The same layer twice in an image is pushed once; packed in two ways, it is two blobs.
    wanted = {(diff_id, blob.digest): blob for diff_id, blob in image.pairs}
    for diff_id, _ in wanted:
        tell(Message("Preparing", short(diff_id), layer=True))

    async def one(blob: Descriptor, diff_id: str) -> Descriptor:
        name = short(diff_id)
        if slots.locked():
            tell(Message("Waiting", name, layer=True))
        async with slots:
            ready = await pack(blob, diff_id)
            tell(Message(await _send(ready, name, client, store, elsewhere(ready.digest), tell), name, layer=True))
            return ready

    # All are waited for, also when one fails: files are read in threads.
    outcomes = await asyncio.gather(
        *(one(blob, diff_id) for (diff_id, _), blob in wanted.items()), return_exceptions=True
    )
    pushed: dict[tuple[str, str], Descriptor] = {}
    for key, outcome in zip(wanted, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            raise outcome
        pushed[key] = outcome
    return [pushed[diff_id, blob.digest] for diff_id, blob in image.pairs]


async def manifest(image: Image, tag: str, client: Client, store: Store, tell: Tell) -> Pushed:
    """Puts the image's config and, under a tag, its manifest into the repository, which has its layers.

    Raises RegistryError, Unreachable, Unauthorized.
    """
    config = Descriptor("", image.id, store.size(image.id))
    await _send(config, "", client, store, (), tell)
    body = await in_thread(store.read, image.manifest.digest, documents.MAX_MANIFEST)
    await client.put_manifest(tag, body, image.manifest)
    return Pushed(tag, image.manifest.digest, image.manifest.size)


async def _send(blob: Descriptor, name: str, client: Client, store: Store, elsewhere: Sequence[str], tell: Tell) -> str:
    """Sees to it that the registry has a blob; returns how it came to have it, in Docker's words."""
    if await client.has(blob.digest):
        return "Layer already exists"
    place = ""
    # One try: where nothing can be mounted, the answer is an upload that was begun.
    for repository in elsewhere[:1]:
        place = await uploads.mount(client, blob.digest, repository)
        if not place:
            return f"Mounted from {repository}"

    async def read(start: int, count: int) -> AsyncIterator[bytes]:
        """Tells how far it is, if the blob has a name."""
        done, last = 0, 0.0
        with store.open(blob.digest) as file:
            file.seek(start)
            while done < count and (piece := await in_thread(file.read, min(_PIECE, count - done))):
                done += len(piece)
                now = time.monotonic()
                if name and now - last >= _PROGRESS_INTERVAL:
                    last = now
                    tell(Message("Pushing", name, start + done, blob.size, layer=True))
                yield piece

    await uploads.send(client, place, blob, read)
    return "Pushed"
