"""Bringing an archive's images into the store: all of them, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from dosirak.engine.content import Descriptor, Platform, Store, media_types
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import documents, platforms
from dosirak.engine.images.archives import docker, oci
from dosirak.engine.images.archives.incoming import Incoming, IncomingLayer
from dosirak.engine.images.archives.members import Members
from dosirak.engine.images.reference import Reference
from dosirak.engine.layers import Layers
from dosirak.engine.layers.digesting import check_diff_id
from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.layers.feed import consume
from dosirak.engine.layers.threads import in_thread

# Layers do not depend on each other; more at once than this only fight for the disk.
_AT_ONCE = 2


async def read(stream: AsyncIterable[bytes], members: Members, platform: Platform | None = None) -> list[Incoming]:
    """Spools the archive into `members` and reads what images are in it; with `platform` only those made for it.

    Raises InvalidRequest (CorruptArchive), HostLimit.
    """

    def work(source: BinaryIO) -> list[Incoming]:
        members.read(source)
        if docker.MANIFEST in members:
            return _for(platform, docker.images(members))
        if oci.INDEX in members:
            return _for(platform, oci.images(members, platform))
        raise CorruptArchive(f"invalid archive: does not contain a {docker.MANIFEST} or an {oci.INDEX}")

    return await consume(stream, work)


def _for(platform: Platform | None, images: list[Incoming]) -> list[Incoming]:
    if platform is None:
        return images
    found = [image for image in images if platforms.fits(image.config.platform, platform)]
    if not found:
        raise InvalidRequest(f"no image for {platform} in the archive")
    return found


def digests(images: Sequence[Incoming]) -> set[str]:
    """The layers these images need: diff IDs and blobs."""
    needed = set()
    for image in images:
        for layer in image.layers:
            needed |= {layer.diff_id, layer.blob.digest}
    return needed


async def unpack(images: Sequence[Incoming], layers: Layers) -> None:
    """Unpacks each layer that does not lie unpacked; of the others, checks that the blob is what it claims to be.

    Raises CorruptArchive, HostLimit.
    """
    wanted = {(layer.diff_id, layer.blob.digest): layer for image in images for layer in image.layers}
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(layer: IncomingLayer) -> None:
        async with slots:
            if not layers.has(layer.diff_id):
                await layers.unpack(layer.blob.path, layer.diff_id)
            elif layer.blob.digest != layer.diff_id:  # else it is that very layer's tar
                await in_thread(check_diff_id, layer.blob.path, layer.diff_id)

    # All are waited for, also when one fails: what is still being unpacked must not appear after the clean-up.
    outcomes = await asyncio.gather(*map(one, wanted.values()), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image whose blobs are in their places."""

    id: str
    manifest: Descriptor
    names: tuple[Reference, ...]


def publish(images: Sequence[Incoming], store: Store, made: set[str]) -> list[Loaded]:
    """Puts the images' blobs in their places. Blocking. Raises HostLimit.

    `made` gets the digests of what was not known before: configs and manifests.
    """
    loaded = []
    for image in images:
        for layer in image.layers:
            if not store.has(layer.blob.digest):
                layer.blob.commit(layer.media_type)
        config = store.put(image.config_bytes, media_types.CONFIG)
        document = image.manifest_bytes(config)
        manifest = store.put(document, documents.read_manifest(document).media_type or media_types.MANIFEST)
        made |= {config.digest, manifest.digest}
        loaded.append(Loaded(config.digest, manifest, image.names))
    return loaded


def names(loaded: Sequence[Loaded]) -> dict[str, Descriptor]:
    """The names in full, and what they stand for now."""
    return {str(name): one.manifest for one in loaded for name in one.names}


def report(loaded: Sequence[Loaded], before: Mapping[str, str]) -> Iterator[str]:
    """Docker's lines; `before`: which image each name stood for (an archive never takes a name silently)."""
    for one in loaded:
        for name in one.names:
            old = before.get(str(name))
            if old is not None and old != one.id:
                yield f"The image {name.familiar} already exists, renaming the old one with ID {old} to empty string\n"
            yield f"Loaded image: {name.familiar}\n"
        if not one.names:
            yield f"Loaded image ID: {one.id}\n"
