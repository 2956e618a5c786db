"""Writing an archive that docker, podman, skopeo and containerd all read: an OCI layout with Docker's manifest.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from dosirak.engine.content import Store, media_types
from dosirak.engine.content.store import LAYOUT
from dosirak.engine.images import documents, times
from dosirak.engine.images.model import Image
from dosirak.engine.images.reference import parse
from dosirak.engine.layers import tarread, tarwrite
from dosirak.engine.layers.pack import joined


def archive(images: Sequence[Image], store: Store) -> Iterator[bytes]:
    """The archive, in pieces. Blocking. `names` of each image are those it is saved under. Raises NotFound."""
    return joined(_pieces(images, store))


def _pieces(images: Sequence[Image], store: Store) -> Iterator[bytes]:
    for directory in (b"blobs/", b"blobs/sha256/"):
        yield tarwrite.header(directory, tarread.DIRECTORY, mode=0o755)
    # Documents before layers: a reader that streams knows early what is to come.
    made = {image.id: _made(image) for image in images}
    for digest in dict.fromkeys([*_documents(images), *_layers(images)]):
        yield from _blob(digest, store, made.get(digest, 0))
    yield from _file("index.json", msgspec.json.encode(_index(images)))
    yield from _file("manifest.json", msgspec.json.encode([_item(image) for image in images]))
    yield from _file("oci-layout", LAYOUT)
    yield tarwrite.END


def _documents(images: Iterable[Image]) -> Iterator[str]:
    for image in images:
        yield image.manifest.digest
        yield image.id


def _made(image: Image) -> int:
    """When an image was made in unix seconds, its config's time in the archive, as Docker gives it; 0: not known."""
    return max(0, (times.nanoseconds(image.created) or 0) // 10**9)


def _layers(images: Iterable[Image]) -> Iterator[str]:
    for image in images:
        for layer in image.layers:
            yield layer.digest


def _index(images: Iterable[Image]) -> documents.ImageIndex:
    manifests = []
    for image in images:
        for name in image.names:
            annotations = {
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": parse(name).tag,
            }
            manifests.append(msgspec.structs.replace(image.manifest, annotations=annotations))
        if not image.names:
            manifests.append(image.manifest)
    return documents.ImageIndex(manifests=manifests)


def _item(image: Image) -> dict[str, object]:
    return {
        "Config": _path(image.id),
        "RepoTags": [parse(name).familiar for name in image.names] or None,
        "Layers": [_path(layer.digest) for layer in image.layers],
        "LayerSources": {
            diff_id: {"mediaType": layer.media_type or media_types.LAYER, "size": layer.size, "digest": layer.digest}
            for diff_id, layer in image.pairs
        },
    }


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest[7:]}"


def _blob(digest: str, store: Store, mtime: int) -> Iterator[bytes]:
    size = store.size(digest)
    yield tarwrite.header(_path(digest).encode(), tarread.REGULAR, size=size, mtime=mtime)
    with store.open(digest) as file:
        while data := file.read(tarread.CHUNK):
            yield data
    yield tarwrite.padding(size)


def _file(name: str, data: bytes) -> Iterator[bytes]:
    yield tarwrite.header(name.encode(), tarread.REGULAR, size=len(data))
    yield data + tarwrite.padding(len(data))
