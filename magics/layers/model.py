"""An image's layers as the engine tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Layer:
    """One layer; `number` counts from the lowest, 0. Sizes in bytes, `wasted` is what upper layers hide of `size`."""

    number: int
    digest: str
    instruction: str
    size: int
    stored: int
    wasted: int
    added: int
    changed: int
    deleted: int


@dataclass(frozen=True)
class Trace:
    """What one layer did to a path: `change` is A, C or D. `path` may be a directory above it, for D."""

    layer: int
    change: str
    path: str
    size: int


@dataclass(frozen=True)
class Layers:
    """All of an image's layers, the lowest first; `efficiency` is the part of `total` bytes that a container sees."""

    image: str
    layers: tuple[Layer, ...]
    total: int
    wasted: int
    efficiency: float
    path: str = ""
    traces: tuple[Trace, ...] = ()


def read(document: Mapping[str, Any], image: str, path: str = "") -> Layers:
    """Return the layers of `GET /dosirak/images/{name}/layers`; `path` is the one that was looked up."""
    layers = [
        Layer(
            number=number,
            digest=one["diff_id"],
            instruction=instruction(one.get("created_by") or ""),
            size=one["unpacked"],
            stored=one["size"],
            wasted=one["wasted"],
            added=one["files"]["added"],
            changed=one["files"]["changed"],
            deleted=one["files"]["deleted"],
        )
        for number, one in enumerate(document["layers"])
    ]
    traces = [Trace(one["layer"], one["change"], one["path"], one["size"]) for one in document.get("path", ())]
    return Layers(
        image=image,
        layers=tuple(layers),
        total=document["total"],
        wasted=document["wasted"],
        efficiency=document["efficiency"],
        path=path,
        traces=tuple(traces),
    )


def instruction(text: str) -> str:
    """Return a history's "created by" as the Dockerfile had it."""
    text = text.removesuffix(" # buildkit").removeprefix("/bin/sh -c #(nop)").strip()
    return f"RUN {text.removeprefix('/bin/sh -c ').strip()}" if text.startswith("/bin/sh -c ") else text
