"""Layers made here, compressed for their way: in parallel, and the same bytes for the same layer each time.

The store keeps them so from then on: a layer is compressed once, and the digest that was pushed is the image's own.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from isal import igzip_lib

from dosirak.engine.content import Descriptor, media_types
from dosirak.engine.content.digests import digest_of
from dosirak.engine.images import documents
from dosirak.engine.layers.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dosirak.engine.content import Store
    from dosirak.engine.images import Image

_MEMBER = 4 << 20
"""Bytes of a gzip member: each is compressed by itself (RFC 1952, 2.2), whatever the number of processors."""
_LEVEL = 3
_COMPRESSED = {
    media_types.LAYER: media_types.LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}


def wanted(image: Image) -> bool:
    """Whether an image was made here and has plain layers. What came from a registry goes back as it came."""
    return not any("@" in name for name in image.names) and any(one.media_type in _COMPRESSED for one in image.layers)


async def packed(
    blob: Descriptor, diff_id: str, known: Mapping[str, Descriptor], store: Store, made: set[str]
) -> Descriptor:
    """A layer's blob as it is pushed: a plain one compressed, or what `known` has for its diff ID; any other as it is.

    Parameters: `made` gets the digest before the blob is there. Raises HostLimit, NotFound.
    """
    if blob.media_type not in _COMPRESSED:
        return blob
    if (there := known.get(diff_id)) is not None and store.has(there.digest):
        made.add(there.digest)
        return there
    return await in_thread(_pack, blob, store, made)


def _pack(blob: Descriptor, store: Store, made: set[str]) -> Descriptor:
    with store.open(blob.digest) as source, store.writer() as writer:
        compress(source, writer.write)
        made.add(writer.digest)
        return writer.commit(_COMPRESSED[blob.media_type])


def compress(source: BinaryIO, write: Callable[[bytes], Any]) -> None:
    """A stream as gzip. Blocking. Memory: some members a processor."""
    processors = os.cpu_count() or 1
    with ThreadPoolExecutor(processors, thread_name_prefix="dosirak-gzip") as pool:
        waiting: deque[Future[bytes]] = deque()
        while data := source.read(_MEMBER):
            waiting.append(pool.submit(_member, data))
            if len(waiting) > 2 * processors:
                write(waiting.popleft().result())
        for member in waiting or [pool.submit(_member, b"")]:
            write(member.result())


def _member(data: bytes) -> bytes:
    # Its header has no time and no name.
    found: bytes = igzip_lib.compress(data, _LEVEL, igzip_lib.COMP_GZIP)
    return found


def manifest(image: Image, layers: list[Descriptor], data: bytes) -> tuple[Descriptor, bytes]:
    """The image's manifest (its bytes are `data`) with these layers in place of its own, and all else as it is."""
    document = msgspec.json.decode(data, type=dict[str, Any])
    document["layers"] = [
        {**before, "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}
        for before, layer in zip(document["layers"], layers, strict=True)
    ]
    made = msgspec.json.encode(document)
    documents.read_manifest(made)
    return Descriptor(image.manifest.media_type, digest_of(made), len(made)), made
