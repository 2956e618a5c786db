"""What the layers room hands to others."""

from __future__ import annotations

import msgspec

from dosirak.engine.content.model import Descriptor, Digest


class Unpacked(msgspec.Struct, frozen=True):
    """A layer that lies unpacked: the digest of its uncompressed tar, and the bytes its files take."""

    diff_id: Digest
    size: int


class LayerInfo(msgspec.Struct, frozen=True):
    """A layer in the store and unpacked: `descriptor` names the blob, `size` is the bytes its files take unpacked."""

    diff_id: Digest
    descriptor: Descriptor
    size: int


class Extracted(msgspec.Struct, frozen=True):
    """What an extraction wrote: bytes of regular files, number of entries."""

    size: int
    entries: int
