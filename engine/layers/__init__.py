"""Layers: tar ⇄ overlay diff directory, each layer once, keyed by diff ID (the digest of its uncompressed tar).

Reading tars (`tarread`, `pax`, `sparse`, `compression`, `feed` for those that come over the network), writing them into
a root nobody trusts (`extract`, `directories`, `whiteouts`), packing a directory back (`pack`, `tarwrite`), and the
directories themselves: unpacked, adopted, removed (`layers`, `removal`).
"""

from __future__ import annotations

from dosirak.engine.layers.layers import Layers, Pending
from dosirak.engine.layers.model import Extracted, LayerInfo, Unpacked

__all__ = ["Extracted", "LayerInfo", "Layers", "Pending", "Unpacked"]
