"""A table that changes in place: one display in a cell, the screen in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from dosirak.magics.look.text import visible

if TYPE_CHECKING:
    from dosirak.magics.tables.listing import Listing


class View(Protocol):
    """Shows a table, each time in place of the last one."""

    def show(self, listing: Listing, text: str) -> None:
        """Show it; `text` is what a terminal sees of it."""


class CellView:
    """One display: HTML, which stays in the notebook as it was last, and text."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, listing: Listing, text: str) -> None:
        """Display it, or change what is displayed."""
        from IPython.display import display

        bundle = {"text/html": listing.frame()._repr_html_(), "text/plain": visible(text)}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)


class ScreenView:
    """A terminal from its first line on, as docker does; without one, the tables one after another."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def show(self, listing: Listing, text: str) -> None:
        """Write it over the last one: each line's rest and the lines below are cleared."""
        if self._is_terminal:
            lines = "".join(f"{line}\x1b[K\n" for line in text.split("\n"))
            sys.stdout.write(f"\x1b[H{lines}\x1b[J")
        else:
            sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
