"""Pulling one image: its manifest, its config, its layers, then its names. All of it, or nothing is left."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from dosirak.engine.content import Descriptor, Platform, media_types
from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.images import ImageConfig, Reference, documents, platforms
from dosirak.engine.registry import blobs, errors
from dosirak.engine.registry.model import Message, Tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dosirak.engine.images import Images
    from dosirak.engine.registry.client import Client
    from dosirak.engine.registry.transfers import Transfers

_CONFIGS = frozenset(
    (
        media_types.CONFIG,
        "application/vnd.docker.container.image.v1+json",
        # What some old tools wrote (moby reads it as the one above).
        "application/octet-stream",
        "",
    )
)
_MANIFESTS = frozenset((media_types.MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"))
_INDEXES = frozenset((media_types.INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"))
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+"


@dataclass(frozen=True, slots=True)
class Found:
    """An image in a registry, its documents read and checked.

    `top`: what the tag stands for, a manifest or an index; `manifest`: the platform's own; `bodies`: their bytes.
    """

    top: Descriptor
    manifest: Descriptor
    document: documents.Manifest
    config: ImageConfig
    bodies: tuple[tuple[Descriptor, bytes], ...]

    @property
    def entry(self) -> Descriptor:
        """What is recorded under the image's names: the index, if this machine would choose this image from it."""
        if self.top.digest == self.manifest.digest:
            return self.manifest
        index = documents.read_manifest(self.bodies[0][1])
        assert isinstance(index, documents.ImageIndex)
        chosen = platforms.choose(index.manifests)
        return self.top if chosen is not None and chosen.digest == self.manifest.digest else self.manifest

    @property
    def digests(self) -> set[str]:
        """Every blob and diff ID the image needs."""
        layers = {layer.digest for layer in self.document.layers}
        return layers | set(self.config.rootfs.diff_ids) | {blob.digest for blob, _ in self.bodies}


async def find(sources: Sequence[Client], reference: Reference, platform: Platform | None) -> Found:
    """Reads an image's documents from a registry: what the name stands for from the first of `sources`.

    What that leads to may come from a later one, since it is known by digest. Raises NotFound, InvalidRequest,
    RegistryError, Unreachable, Unauthorized.
    """
    top, data = await sources[0].manifest(reference.digest or reference.tag)
    _refuse_schema1(top, reference)
    document = documents.read_manifest(data)
    top = _typed(top, document)
    manifest, body = top, data
    if isinstance(document, documents.ImageIndex):
        chosen = platforms.choose(document.manifests, platform)
        if chosen is None:
            raise NotFound(f"no matching manifest for {platform or platforms.host()} in the manifest list entries")
        found, body = await _by_digest(sources, chosen)
        document = documents.read_manifest(body)
        if isinstance(document, documents.ImageIndex):
            raise InvalidRequest("invalid image index: nested too deep")
        manifest = _typed(Descriptor(chosen.media_type, found.digest, found.size), document)
    _check(document)
    config_body = await blobs.small(sources, document.config, documents.MAX_CONFIG)
    config = documents.read_config(config_body)
    documents.check_pair(document, config)
    bodies = [(top, data), (manifest, body), (document.config, config_body)]
    return Found(top, manifest, document, config, tuple(bodies))


async def _by_digest(sources: Sequence[Client], descriptor: Descriptor) -> tuple[Descriptor, bytes]:
    for source in sources[:-1]:
        try:
            return await source.manifest(descriptor.digest, descriptor)
        except (errors.Unreachable, errors.RegistryError, errors.Unauthorized, InvalidRequest):
            continue
    return await sources[-1].manifest(descriptor.digest, descriptor)


async def look(client: Client, reference: Reference) -> tuple[Descriptor, list[Platform]]:
    """What a name stands for in the registry, and for which platforms it was made."""
    top, data = await client.manifest(reference.digest or reference.tag)
    _refuse_schema1(top, reference)
    document = documents.read_manifest(data)
    top = _typed(top, document)
    if isinstance(document, documents.ImageIndex):
        return top, [one.platform for one in document.manifests if one.platform is not None]
    config = documents.read_config(await blobs.small([client], document.config, documents.MAX_CONFIG))
    return top, [config.platform]


async def fetch(found: Found, sources: Sequence[Client], images: Images, transfers: Transfers, tell: Tell) -> None:
    """Brings the image's layers in. To be called with `found.digests` held."""
    pairs = [*zip(found.config.rootfs.diff_ids, found.document.layers, strict=True)]
    known = images.layer_pairs()
    # The same layer twice in an image is one transfer.
    wanted = {(blob.digest, diff_id): (blob, diff_id) for diff_id, blob in pairs}
    outcomes = await asyncio.gather(
        *(
            transfers.bring(sources, blob, diff_id, (diff_id, blob.digest) in known, tell)
            for blob, diff_id in wanted.values()
        ),
        return_exceptions=True,
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _typed(found: Descriptor, document: documents.Manifest | documents.ImageIndex) -> Descriptor:
    """The descriptor with the type that its document has. What a registry says of it must not contradict that.

    Raises InvalidRequest: two readers would see two images (CVE-2021-41190).
    """
    is_index = isinstance(document, documents.ImageIndex)
    for said in (found.media_type, document.media_type):
        if said in (_MANIFESTS if is_index else _INDEXES):
            raise InvalidRequest(f"invalid manifest: it is called {said} and is {'an index' if is_index else 'none'}")
    if found.media_type in _MANIFESTS | _INDEXES:
        return found
    return msgspec.structs.replace(found, media_type=document.media_type)


def is_image_config(config: Descriptor) -> bool:
    """Whether a manifest with this config is a container image, rather than a chart or another artifact."""
    return config.media_type in _CONFIGS


def _check(manifest: documents.Manifest) -> None:
    """Refuses what is no image for this engine, before its layers are fetched."""
    if not is_image_config(manifest.config):
        raise InvalidRequest(
            f"unsupported media type {manifest.config.media_type[:200]}: this is not a container image"
        )
    for layer in manifest.layers:
        if "foreign" in layer.media_type or "nondistributable" in layer.media_type:
            raise InvalidRequest(f"layer {layer.digest} is a foreign layer: those are not pulled")


def _refuse_schema1(top: Descriptor, reference: Reference) -> None:
    if top.media_type.startswith(_SCHEMA1):
        raise InvalidRequest(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest "
            f"the author of {reference} to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. "
            "More information at https://docs.docker.com/go/deprecated-image-specs/"
        )


def platform_warning(found: Found, wanted: Platform, name: str) -> Message | None:
    """What is said of an image that is there for one platform only, and for another than asked."""
    have = found.config.platform
    if platforms.fits(have, wanted):
        return None
    return Message(
        f"WARNING: image with reference {name} was found but its platform ({have}) does not match the specified "
        f"platform ({wanted})"
    )


def up_to_date(name: str) -> Message:
    """The last line of a pull that brought nothing new."""
    return Message(f"Status: Image is up to date for {name}")


def newer(name: str) -> Message:
    """The last line of a pull that brought something."""
    return Message(f"Status: Downloaded newer image for {name}")
