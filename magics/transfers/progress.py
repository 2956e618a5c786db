"""How far a pull or push is, by what the engine tells of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DONE = frozenset(("Already exists", "Pull complete", "Pushed", "Layer already exists"))
_MOUNTED = "Mounted from "


@dataclass
class Layer:
    """One layer: what is done with it, and how many of its bytes have come or gone (0 of 0: not known)."""

    status: str = ""
    current: int = 0
    total: int = 0

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        return self.status in DONE or self.status.startswith(_MOUNTED)


@dataclass
class Progress:
    """All layers of a transfer, by the twelve digits Docker shows, in the order they were named."""

    layers: dict[str, Layer] = field(default_factory=dict)

    def feed(self, event: Mapping[str, Any]) -> bool:
        """Take one message; return whether it was about a layer."""
        if "progressDetail" not in event or not event.get("id"):
            return False
        layer = self.layers.setdefault(str(event["id"]), Layer())
        layer.status = str(event.get("status") or "")
        detail = event["progressDetail"] or {}
        # Downloads and uploads are bytes; unpacking may be told in seconds.
        if layer.status in ("Downloading", "Pushing"):
            layer.current, layer.total = int(detail.get("current") or 0), int(detail.get("total") or 0)
        elif layer.done or layer.status in ("Download complete", "Extracting"):
            layer.current = layer.total
        return True

    @property
    def done(self) -> int:
        """How many layers are done."""
        return sum(layer.done for layer in self.layers.values())

    @property
    def bytes(self) -> tuple[int, int]:
        """Bytes that have come or gone, of those that are known to."""
        layers = self.layers.values()
        return sum(layer.current for layer in layers), sum(layer.total for layer in layers)
