"""What `%layers` yields."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dosirak.magics.layers.draw import svg
from dosirak.magics.layers.model import Layers
from dosirak.magics.look import words
from dosirak.magics.look.html import PLAIN, Markup, join, mono, picture, tag
from dosirak.magics.look.text import one_line
from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.listing import Listing

if TYPE_CHECKING:
    from dosirak.magics.tables.frame import Frame

_TITLES = ["LAYER", "SIZE", "WASTED", "ADDED", "CHANGED", "DELETED", "INSTRUCTION"]
_DID = {"A": "added", "C": "changed", "D": "deleted"}


class LayersView:
    """An image layer by layer: `frame()` is a DataFrame of it, `layers` the values, `save(path)` writes the picture."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers

    @property
    def svg(self) -> str:
        """The picture, an SVG document."""
        return svg(self.layers, self._summary)

    def save(self, path: str | Path) -> Path:
        """Write the picture to an .svg file; return its path."""
        target = Path(path)
        target.write_text(self.svg)
        return target

    def frame(self) -> Frame:
        """Return the layers as a DataFrame, the lowest first; sizes in bytes."""
        return self._listing().frame()

    def _listing(self) -> Listing:
        rows = [
            {
                "LAYER": layer.number,
                "SIZE": layer.size,
                "WASTED": layer.wasted,
                "ADDED": layer.added,
                "CHANGED": layer.changed,
                "DELETED": layer.deleted,
                "INSTRUCTION": layer.instruction,
            }
            for layer in self.layers.layers
        ]
        return Listing(_TITLES, rows, Look("layers"))

    @property
    def _summary(self) -> str:
        found = self.layers
        count = "1 layer" if len(found.layers) == 1 else f"{len(found.layers)} layers"
        seen = f"{found.efficiency:.1%} of {words.size(found.total)} is seen by a container"
        return f"{found.image}: {count}, {seen}, {words.size(found.wasted)} wasted"

    def _traced(self) -> list[str]:
        found = self.layers
        if not found.path:
            return []
        if not found.traces:
            return [f"{found.path}: in no layer"]
        lines = []
        for trace in found.traces:
            where = "" if trace.path.strip("/") == found.path.strip("/") else f" with {trace.path}"
            lines.append(f"{found.path}: {_DID[trace.change]}{where} by layer {trace.layer}, {words.size(trace.size)}")
        return lines

    def _repr_html_(self) -> str:
        lines: list[Markup] = [tag("div", mono(line)) for line in self._traced()]
        return str(tag("div", picture(self.svg, self._summary), join(*lines), class_=PLAIN))

    def __repr__(self) -> str:
        return "\n".join([self._listing().text(), one_line(self._summary), *map(one_line, self._traced())])
