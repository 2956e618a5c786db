"""An image on its way in: what an archive says it has, checked as far as documents go."""

from __future__ import annotations

from dataclasses import dataclass

from dosirak.engine.content import BlobWriter, Descriptor, media_types
from dosirak.engine.images import documents
from dosirak.engine.images.config import ImageConfig
from dosirak.engine.images.reference import Reference
from dosirak.engine.layers.compression import Compression, detect


@dataclass(frozen=True, slots=True)
class IncomingLayer:
    """One layer: the diff ID the config promises, the blob that is to keep it, and that blob's media type."""

    diff_id: str
    blob: BlobWriter
    media_type: str

    @property
    def descriptor(self) -> Descriptor:
        """The blob's descriptor."""
        return Descriptor(self.media_type, self.blob.digest, self.blob.size)


@dataclass(frozen=True, slots=True)
class Incoming:
    """One image: its config's bytes and what they say, its layers (the lowest first), its names.

    `manifest`: the manifest's bytes where the archive has one; b"" where one is to be made.
    """

    config_bytes: bytes
    config: ImageConfig
    layers: tuple[IncomingLayer, ...]
    names: tuple[Reference, ...]
    manifest: bytes = b""

    def manifest_bytes(self, config: Descriptor) -> bytes:
        """The manifest, made if need be; `config` is the config's descriptor."""
        if self.manifest:
            return self.manifest
        return documents.write(documents.Manifest(config=config, layers=[layer.descriptor for layer in self.layers]))


def layer_media_type(blob: BlobWriter) -> str:
    """The media type of a layer's blob, by its content. What OCI has no type for is called a plain tar (and read)."""
    with blob.path.open("rb") as file:
        kind = detect(file.read(6))
    return {
        Compression.GZIP: media_types.LAYER_GZIP,
        Compression.ZSTD: media_types.LAYER_ZSTD,
    }.get(kind, media_types.LAYER)
