"""The notebook's door: output streams into the cell as safe text, input is the cell's body."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dosirak.magics.errors import DosirakError
from dosirak.magics.look.text import visible
from dosirak.magics.streams.pump import Input, Sink
from dosirak.magics.streams.sanitize import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from dosirak.magics.building.view import BuildView
    from dosirak.magics.transfers.view import TransferView
    from dosirak.magics.usage.live import View


class NotebookSink:
    """Writes a container's output into the running cell, stdout and stderr apart, as it comes."""

    def __init__(self) -> None:
        self._texts = {1: Text(), 2: Text()}

    def write(self, stream: int, data: bytes) -> None:
        """Show what is complete of it."""
        self._show(stream, self._texts[2 if stream == 2 else 1].feed(data))

    def close(self) -> None:
        """Show what a cut character held back."""
        for stream, text in self._texts.items():
            self._show(stream, text.feed(b"", final=True))

    @staticmethod
    def _show(stream: int, text: str) -> None:
        if text:
            (sys.stderr if stream == 2 else sys.stdout).write(text)


class Notebook:
    """A cell. Parameters: `text` is its body, None for a line magic."""

    is_terminal = False
    escalates = True

    def __init__(self, text: str | None = None) -> None:
        self._text = text

    def sink(self) -> Sink:
        """Return the cell's output."""
        return NotebookSink()

    def source(self) -> Input:
        """Return the body; a line magic has no input, which ends at once."""
        return Input((self._text or "").encode())

    def body(self) -> str | None:
        """Return the cell's body."""
        return self._text

    def without_body(self) -> Notebook:
        """Return the same without the cell's body."""
        return Notebook()

    def say(self, text: str) -> None:
        """Print a line into the cell."""
        sys.stdout.write(f"{visible(text)}\n")

    def note(self, text: str) -> None:
        """Print a line into the cell's error stream."""
        sys.stderr.write(f"{visible(text)}\n")

    def ask(self, question: str, otherwise: str = "use --force") -> str:
        """Ask in the cell's input box."""
        return _answer(input, question, otherwise)

    def ask_secret(self, question: str) -> str:
        """Ask in the cell's input box, which shows dots and keeps nothing."""
        import getpass

        # The kernel puts its own in getpass's place.
        return _answer(getpass.getpass, question, "log in where the notebook runs, with dosirak login")

    def build_view(self) -> BuildView:
        """Return a view that updates in place."""
        from dosirak.magics.building.view import CellView

        return CellView()

    def transfer_view(self) -> TransferView:
        """Return bars that move in place."""
        from dosirak.magics.transfers.view import CellView

        return CellView(self)

    def table_view(self) -> View:
        """Return a table that updates in place."""
        from dosirak.magics.usage.live import CellView

        return CellView()


def _answer(read: Callable[[str], str], question: str, otherwise: str) -> str:
    try:
        return read(question)
    except Exception as error:  # ipykernel's StdinNotImplementedError, or whatever another front end raises
        raise DosirakError(f"nobody is here to answer (the notebook runs by itself): {otherwise}") from error
