"""Descriptors and platforms, as the OCI image spec has them (descriptor.md, image-index.md)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from dosirak.engine.content.digests import PATTERN

Digest = Annotated[str, msgspec.Meta(pattern=PATTERN)]
"""A digest that was checked when the document that holds it was decoded."""


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a manifest was made for: `os`/`architecture`/`variant`, in Go's words (linux, amd64, arm64, v8)."""

    architecture: str
    os: str
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A reference to a blob: what it is, its digest ("sha256:<hex>"), its size in bytes."""

    media_type: str
    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
