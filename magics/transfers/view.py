"""A transfer while it runs: bars that move in a cell, a line for each layer that is done elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from dosirak.magics.look import theme
from dosirak.magics.look.html import PLAIN, Markup, mono, tag
from dosirak.magics.look.text import one_line
from dosirak.magics.look.words import size
from dosirak.magics.transfers.progress import Layer, Progress

if TYPE_CHECKING:
    from dosirak.magics.doors import Door

_INTERVAL = 0.2
"""Seconds between two updates of a cell's bars: each one is a message to the browser."""
_MOST = 40
"""Layers that are drawn; a hostile registry may name any number."""


class TransferView(Protocol):
    """Shows a transfer."""

    def feed(self, event: Mapping[str, Any]) -> None:
        """The engine told something."""

    def close(self) -> None:
        """The transfer is over, whatever came of it."""


class TextView:
    """Lines: a notebook that nobody looks at and a terminal keep every one, so of a layer only how it ended."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._progress = Progress()

    def feed(self, event: Mapping[str, Any]) -> None:
        """Print what came, if it is worth a line."""
        if not self._progress.feed(event):
            _note(self._door, event)
        elif self._progress.layers[str(event["id"])].done:
            self._door.note(f"{event['id']}: {event['status']}")

    def close(self) -> None:
        """Nothing was held back."""


class CellView:
    """Bars in place of lines; what is not about a layer is a line all the same."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._progress = Progress()
        self._handle: Any = None
        self._drawn = 0.0

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take it, and redraw, not oftener than every interval."""
        if not self._progress.feed(event):
            _note(self._door, event)
        elif time.monotonic() - self._drawn >= _INTERVAL:
            self._draw(ended=False)

    def close(self) -> None:
        """Draw the end: one line, which folds open."""
        if self._progress.layers:
            self._draw(ended=True)

    def _draw(self, *, ended: bool) -> None:
        from IPython.display import display

        bundle = {"text/html": html(self._progress, ended=ended), "text/plain": plain(self._progress)}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)
        self._drawn = time.monotonic()


def _note(door: Door, event: Mapping[str, Any]) -> None:
    if "status" in event:
        prefix = f"{event['id']}: " if "id" in event else ""
        door.note(f"{prefix}{event['status']}")


def plain(progress: Progress) -> str:
    """Return the transfer as one line."""
    layers, (current, total) = progress.layers, progress.bytes
    counted = f"{progress.done} of {len(layers)} layer{'s' if len(layers) != 1 else ''}"
    return f"{counted}, {size(current)} of {size(total)}" if total else counted


def html(progress: Progress, *, ended: bool) -> Markup:
    """Return the transfer as a bar for each layer, folded to one line when it is over."""
    shown = [*progress.layers.items()][:_MOST]
    table = tag("div", *(_row(name, layer) for name, layer in shown), style="margin-top:4px")
    attributes = {} if ended else {"open": "open"}
    head = tag("summary", plain(progress), style="cursor:pointer")
    style = f"font-size:{theme.NORMAL};line-height:1.5"
    return tag("details", head, table, class_=PLAIN, style=style, **attributes)


def _row(name: str, layer: Layer) -> Markup:
    share = 100 if layer.done else 100 * min(layer.current, layer.total) // layer.total if layer.total else 0
    colour = theme.GREEN if layer.done else theme.BLUE
    filled = tag("div", "", style=f"width:{share}%;height:100%;background:{colour}")
    frame = f"display:inline-block;width:180px;height:9px;border-radius:5px;overflow:hidden;background:{theme.FAINT}"
    count = f"  {size(layer.current)} of {size(layer.total)}" if layer.total else ""
    said = tag("span", f"{one_line(layer.status)}{count}", style=f"margin-left:10px;color:{theme.GREY}")
    return tag("div", mono(one_line(name)), " ", tag("div", filled, style=f"{frame};margin-left:8px"), said)
