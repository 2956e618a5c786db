"""An image that shows itself: its names, its size, and the layers it is made of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import docker
import requests
from docker.models.images import Image as DockerImage

from dosirak.magics.look import theme, words
from dosirak.magics.look.html import Markup, card, join, mono, tag
from dosirak.magics.look.text import one_line
from dosirak.magics.objects.container import _unix

if TYPE_CHECKING:
    from dosirak.magics.engine import Engine

_SHOWN = 12


class Image(DockerImage):  # type: ignore[misc]
    """docker-py's Image: `i.tags`, `i.history()`, `i.tag(…)`, …."""

    @classmethod
    def of(cls, engine: Engine, reference: str) -> Image:
        """Return the image `reference` (name or id) as it is now."""
        client = engine.client
        return cls(attrs=engine.get(f"/images/{reference}/json"), client=client, collection=client.images)

    def __str__(self) -> str:
        """Return a name of it, so that `{image}` and `$image` name it in a magic's line."""
        return str((self.tags or [self.short_id])[0])

    def __repr__(self) -> str:
        lines = [f"{one_line(', '.join(self.tags) or '<none>')}  {words.short_id(self.id)}  {self._summary}"]
        for layer in self._layers():
            lines.append(f"  {words.size(layer['Size']):>8}  {one_line(words.shorten(_made_by(layer), 90))}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = tag(
            "div",
            tag("b", ", ".join(self.tags) or "<none>"),
            join("  ", mono(words.short_id(self.id))),
            tag("span", f"  {self._summary}", style=f"color:{theme.GREY}"),
        )
        layers = self._layers()
        largest = max([layer["Size"] for layer in layers] or [1]) or 1
        rows = [(words.size(layer["Size"]), _bar(layer, largest)) for layer in layers[-_SHOWN:]]
        if len(layers) > _SHOWN:
            rows.insert(0, ("…", join(f"{len(layers) - _SHOWN} more below")))
        return card(head, rows)

    @property
    def _summary(self) -> str:
        created = _unix(self.attrs.get("Created"))
        parts = [words.size(self.attrs.get("Size", 0))]
        if created:
            parts.append(f"created {words.ago(created, time.time())}")
        layers = len(self.attrs.get("RootFS", {}).get("Layers") or [])
        parts.append("1 layer" if layers == 1 else f"{layers} layers")
        return " · ".join(parts)

    def _layers(self) -> list[dict[str, Any]]:
        """Return the history's entries that made a layer, the lowest first."""
        try:
            history: list[dict[str, Any]] = self.history()
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            return []  # removed since, or the engine is away: what was known is still shown
        return [entry for entry in reversed(history) if entry.get("Size")]


def _made_by(layer: dict[str, Any]) -> str:
    text = str(layer.get("CreatedBy") or layer.get("Comment") or "")
    text = text.removesuffix(" # buildkit").removeprefix("/bin/sh -c #(nop)").strip()
    return f"RUN {text.removeprefix('/bin/sh -c ').strip()}" if text.startswith("/bin/sh -c ") else text


def _bar(layer: dict[str, Any], largest: int) -> Markup:
    width = max(2, round(120 * layer["Size"] / largest))
    style = (
        f"display:inline-block;width:{width}px;height:9px;border-radius:3px;background:{theme.BLUE};margin-right:8px"
    )
    return join(tag("span", style=style), mono(words.shorten(_made_by(layer), 90)))
