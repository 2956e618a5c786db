"""Docker's archive format: `manifest.json` names each image's config and layers, by their paths in the archive."""

from __future__ import annotations

import msgspec

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import documents
from dosirak.engine.images.archives.incoming import Incoming, IncomingLayer, layer_media_type
from dosirak.engine.images.archives.members import Members
from dosirak.engine.images.reference import parse

MANIFEST = "manifest.json"


class Item(msgspec.Struct, rename="pascal", kw_only=True):
    """One image in manifest.json."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


def images(members: Members) -> list[Incoming]:
    """The images of an archive that has a manifest.json. Blocking. Raises InvalidRequest (CorruptArchive)."""
    items = documents.decode(members.content(MANIFEST, documents.MAX_MANIFEST), list[Item], f"archive: {MANIFEST}")
    return [_image(item, members) for item in items]


def _image(item: Item, members: Members) -> Incoming:
    config_bytes = members.content(item.config, documents.MAX_CONFIG)
    config = documents.read_config(config_bytes)
    if config.os != "linux":
        raise InvalidRequest(f"cannot load {config.os[:40]} image on linux")
    paths = item.layers or []
    expected, found = len(paths), len(config.rootfs.diff_ids)
    if expected != found:
        raise InvalidRequest(f"invalid manifest, layers length mismatch: expected {expected}, got {found}")
    layers = []
    for path, diff_id in zip(paths, config.rootfs.diff_ids, strict=True):
        blob = members.get(path)
        layers.append(IncomingLayer(diff_id, blob, layer_media_type(blob)))
    names = [parse(tag) for tag in item.repo_tags or []]
    for name in names:
        if not name.tag or name.digest:
            raise InvalidRequest(f'invalid tag "{name}"')
    return Incoming(config_bytes, config, tuple(layers), tuple(names))
