"""Layers: tar ⇄ overlay diff directory, each layer once, keyed by diff ID (the digest of its uncompressed tar).

Reading tars (`tarread`, `pax`, `sparse`, `compression`), writing them into a root nobody trusts (`extract`), packing a
directory back (`pack`, `tarwrite`), and the directories themselves: unpacked, adopted, swept (`layers`).
"""

from __future__ import annotations

from dosirak.engine.layers.layers import Layers, Pending
from dosirak.engine.layers.model import Extracted, LayerInfo, Unpacked

__all__ = ["Extracted", "LayerInfo", "Layers", "Pending", "Unpacked"]
