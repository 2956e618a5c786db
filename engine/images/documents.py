"""Manifests, image indexes and configs: read with every check that hostile ones need, and written.

Limits are the registry's and overlayfs': manifests of 4 MiB, configs of 8 MiB, 128 layers.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from dosirak.engine.content import media_types
from dosirak.engine.content.model import Descriptor
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images.config import ImageConfig

MAX_MANIFEST = 4 << 20
MAX_CONFIG = 8 << 20
MAX_LAYERS = 128
MAX_MANIFESTS = 1024

Document = TypeVar("Document")


class Manifest(msgspec.Struct, rename="camel", kw_only=True):
    """An image manifest: a config and its layers, the lowest first."""

    schema_version: int = 2
    media_type: str = media_types.MANIFEST
    config: Descriptor
    layers: list[Descriptor]


class ImageIndex(msgspec.Struct, rename="camel", kw_only=True):
    """An image index: manifests, one for each platform."""

    schema_version: int = 2
    media_type: str = media_types.INDEX
    manifests: list[Descriptor]


def decode(data: bytes, kind: type[Document], what: str) -> Document:
    """Decodes JSON into a document. Raises InvalidRequest: `what` is malformed, and where."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"invalid {what}: {error}") from error


def read_manifest(data: bytes) -> Manifest | ImageIndex:
    """A manifest or an index, by what is in it. Raises InvalidRequest.

    One with both `layers` and `manifests` is refused: two readers would see two images (CVE-2021-41190).
    """
    fields = decode(data, dict[str, Any], "manifest")
    if "manifests" in fields and ("layers" in fields or "config" in fields):
        raise InvalidRequest("invalid manifest: it is both an image and an index")
    if "manifests" in fields:
        index = decode(data, ImageIndex, "image index")
        if len(index.manifests) > MAX_MANIFESTS:
            raise InvalidRequest(f"invalid image index: more than {MAX_MANIFESTS} manifests")
        return index
    manifest = decode(data, Manifest, "manifest")
    if manifest.schema_version != 2:
        raise InvalidRequest(f"invalid manifest: schema version {manifest.schema_version} is not supported")
    if len(manifest.layers) > MAX_LAYERS:
        raise InvalidRequest(f"invalid manifest: more than {MAX_LAYERS} layers")
    return manifest


def read_config(data: bytes) -> ImageConfig:
    """An image config. Raises InvalidRequest.

    Go writes null for what is empty, and old tools leave the platform out: both are as if not there.
    """
    fields = _without_nulls(decode(data, dict[str, Any], "image config"))
    fields.setdefault("architecture", "")
    fields.setdefault("os", "linux")
    for part in ("config", "rootfs"):
        if isinstance(fields.get(part), dict):
            fields[part] = _without_nulls(fields[part])
    if isinstance(history := fields.get("history"), list):
        fields["history"] = [_without_nulls(item) if isinstance(item, dict) else item for item in history]
    try:
        config = msgspec.convert(fields, ImageConfig)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"invalid image config: {error}") from error
    if config.rootfs.type != "layers":
        raise InvalidRequest(f"invalid image config: rootfs of type {config.rootfs.type[:40]!r}")
    if len(config.rootfs.diff_ids) > MAX_LAYERS:
        raise InvalidRequest(f"invalid image config: more than {MAX_LAYERS} layers")
    return config


def check_pair(manifest: Manifest, config: ImageConfig) -> None:
    """Raises InvalidRequest unless the manifest has a layer for each of the config's diff IDs."""
    expected, found = len(config.rootfs.diff_ids), len(manifest.layers)
    if expected != found:
        raise InvalidRequest(f"invalid manifest, layers length mismatch: expected {expected}, got {found}")


def write(document: Manifest | ImageIndex | ImageConfig) -> bytes:
    """The document's bytes, always the same for the same document."""
    return msgspec.json.encode(document)


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
