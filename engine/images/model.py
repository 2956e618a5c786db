"""What the images room hands to others: plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from dosirak.engine.content.model import Descriptor
from dosirak.engine.images.config import ImageConfig

PARENT = "org.mobyproject.image.parent"
"""The annotation in index.json, and the label in Docker's own store, that says from which image one was committed."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the store.

    `id`: digest of the config ("sha256:…"). `layers`: blobs, the lowest first, one for each of
    `config.rootfs.diff_ids`. `names`: full references ("docker.io/library/ubuntu:22.04"), sorted; empty for a dangling
    image. `created`: RFC 3339, "" if unknown. `size`: bytes its layers take unpacked. `parent`: id of the image whose
    container it was committed from, "" for any other.
    """

    id: str
    manifest: Descriptor
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    names: tuple[str, ...]
    created: str
    size: int
    parent: str = ""

    @property
    def entry(self) -> Descriptor:
        """Its manifest, as index.json has it."""
        return entry(self.manifest, self.parent)

    @property
    def pairs(self) -> tuple[tuple[str, Descriptor], ...]:
        """Each layer's diff ID and blob, the lowest first."""
        return tuple(zip(self.diff_ids, self.layers, strict=True))

    @property
    def short_id(self) -> str:
        """The twelve hex digits Docker shows."""
        return self.id[7:19]

    @property
    def diff_ids(self) -> list[str]:
        """The layers' diff IDs, the lowest first."""
        return list(self.config.rootfs.diff_ids)

    def with_names(self, names: Iterable[str]) -> Image:
        """The same image under other names."""
        return replace(self, names=tuple(names))


def entry(manifest: Descriptor, parent: str) -> Descriptor:
    """A manifest as index.json has it; `parent`: see `Image`."""
    return msgspec.structs.replace(manifest, annotations={PARENT: parent}) if parent else manifest


@dataclass(frozen=True, slots=True)
class Usage:
    """A container that uses an image: what `Images.in_use` tells."""

    container: str
    running: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """One effect of a removal: a name taken away (as a person writes it), or an image or layer deleted ("sha256:…")."""

    untagged: str = ""
    deleted: str = ""


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One line of `docker history`.

    `id`: the image's for the top line, "<missing>" below. `created`: RFC 3339, "" if unknown. `size`: bytes the
    layer's files take. `tags`: full references.
    """

    id: str
    created: str
    created_by: str
    size: int
    comment: str
    tags: tuple[str, ...] = ()
