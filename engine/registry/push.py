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
    from collections.abc import Callable, Sequence

    from dosirak.engine.images import Image
    from dosirak.engine.registry.client import Client

_AT_ONCE = 5
_PIECE = 1 << 20
_PROGRESS_INTERVAL = 0.1


async def push(
    image: Image, tag: str, client: Client, store: Store, elsewhere: Callable[[str], Sequence[str]], tell: Tell
) -> Pushed:
    """Pushes an image under a tag of the client's repository. To be called with the image's blobs held.

    Parameters: `elsewhere` (blob's digest → repositories of this registry that have it, as far as is known here).
    Raises RegistryError, Unreachable, NotFound when a blob is gone.
    """
    slots = asyncio.Semaphore(_AT_ONCE)
    layers = {blob.digest: (blob, short(diff_id)) for diff_id, blob in zip(image.diff_ids, image.layers, strict=True)}
    for _, name in layers.values():
        tell(Message("Preparing", name, layer=True))

    async def one(blob: Descriptor, name: str) -> None:
        async with slots:
            tell(Message(await _send(blob, name, client, store, elsewhere(blob.digest), tell), name, layer=True))

    # All are waited for, also when one fails: files are read in threads.
    outcomes = await asyncio.gather(*(one(*layer) for layer in layers.values()), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    body = await in_thread(store.read, image.manifest.digest, documents.MAX_MANIFEST)
    config = Descriptor("", image.id, store.size(image.id))
    await _send(config, "", client, store, (), tell)
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
    place = place or await uploads.begin(client)
    await uploads.send(client, place, blob, _read(blob, name, store, tell))
    return "Pushed"


async def _read(blob: Descriptor, name: str, store: Store, tell: Tell) -> AsyncIterator[bytes]:
    """A blob's bytes; tells how far it is, if it has a name."""
    done, last = 0, 0.0
    with store.open(blob.digest) as file:
        while piece := await in_thread(file.read, _PIECE):
            done += len(piece)
            now = time.monotonic()
            if name and now - last >= _PROGRESS_INTERVAL:
                last = now
                tell(Message("Pushing", name, done, blob.size, layer=True))
            yield piece
