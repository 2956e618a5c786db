"""OCI archives: an OCI image layout in a tar (image-spec, image-layout.md)."""

from __future__ import annotations

from dosirak.engine.content import BlobWriter, Descriptor, Platform
from dosirak.engine.content.digests import hex_part
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import documents, platforms
from dosirak.engine.images.archives.incoming import Incoming, IncomingLayer
from dosirak.engine.images.archives.members import Members
from dosirak.engine.images.reference import Reference, parse
from dosirak.engine.layers.errors import CorruptArchive

INDEX = "index.json"
# containerd, buildx and docker put the whole name here; in the spec's own annotation there may be only a tag.
_FULL_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"
# buildx's attestations lie in the index like images of a platform that does not exist.
_ATTESTATION = "vnd.docker.reference.type"
_MAX_DEPTH = 2


def images(members: Members, platform: Platform | None = None) -> list[Incoming]:
    """The images of an archive that has an index.json. Blocking. Raises InvalidRequest (CorruptArchive).

    An image that is there for several platforms comes in for `platform`, by default this machine's.
    """
    data = members.content(INDEX, documents.MAX_MANIFEST)
    index = documents.decode(data, documents.ImageIndex, f"archive: {INDEX}")
    if len(index.manifests) > documents.MAX_MANIFESTS:
        raise CorruptArchive(f"invalid archive: more than {documents.MAX_MANIFESTS} manifests")
    merged: dict[str, Incoming] = {}
    for entry in index.manifests:
        if _is_attestation(entry):
            continue
        digest, image = _image(entry, members, platform, _MAX_DEPTH)
        name = _name(entry)
        names = (*(merged[digest].names if digest in merged else ()), *((name,) if name else ()))
        merged[digest] = Incoming(image.config_bytes, image.config, image.layers, names, image.manifest)
    return list(merged.values())


def _image(entry: Descriptor, members: Members, platform: Platform | None, depth: int) -> tuple[str, Incoming]:
    """The image a descriptor leads to, and its manifest's digest."""
    data = _document(entry, members, documents.MAX_MANIFEST)
    manifest = documents.read_manifest(data)
    if isinstance(manifest, documents.ImageIndex):
        if depth == 0:
            raise CorruptArchive("invalid image index: nested too deep")
        there = [one for one in manifest.manifests if not _is_attestation(one) and _path(one) in members]
        chosen = platforms.choose(there, platform)
        if chosen is None:
            raise InvalidRequest(f"no image for {platform or platforms.host()} in the archive")
        return _image(chosen, members, platform, depth - 1)
    config_bytes = _document(manifest.config, members, documents.MAX_CONFIG)
    config = documents.read_config(config_bytes)
    if config.os != "linux":
        raise InvalidRequest(f"cannot load {config.os[:40]} image on linux")
    documents.check_pair(manifest, config)
    layers = [
        IncomingLayer(diff_id, _blob(layer, members), layer.media_type)
        for layer, diff_id in zip(manifest.layers, config.rootfs.diff_ids, strict=True)
    ]
    return entry.digest, Incoming(config_bytes, config, tuple(layers), (), data)


def _document(descriptor: Descriptor, members: Members, limit: int) -> bytes:
    _blob(descriptor, members)
    return members.content(_path(descriptor), limit)


def _blob(descriptor: Descriptor, members: Members) -> BlobWriter:
    """The member a descriptor names, which must be what the descriptor says."""
    blob = members.get(_path(descriptor))
    if blob.digest != descriptor.digest:
        raise CorruptArchive(f"digest mismatch: expected {descriptor.digest}, got {blob.digest}")
    if blob.size != descriptor.size:
        raise CorruptArchive(f"size mismatch of {descriptor.digest}: expected {descriptor.size}, got {blob.size}")
    return blob


def _path(descriptor: Descriptor) -> str:
    return f"blobs/sha256/{hex_part(descriptor.digest)}"


def _is_attestation(entry: Descriptor) -> bool:
    return _ATTESTATION in (entry.annotations or {})


def _name(entry: Descriptor) -> Reference | None:
    """The entry's name, None if it has none. A lone word is a repository's name, as podman reads it.

    Raises InvalidRequest for a full name that is malformed; the spec's own annotation may be any text.
    """
    annotations = entry.annotations or {}
    if full := annotations.get(_FULL_NAME):
        return parse(full).tagged()
    try:
        return parse(annotations[_REF_NAME]).tagged() if _REF_NAME in annotations else None
    except InvalidRequest:
        return None
