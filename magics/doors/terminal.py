"""The terminal's door: bytes pass unchanged, tables are Docker's text."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from dosirak.magics.streams import terminal
from dosirak.magics.streams.pump import Input, Sink

if TYPE_CHECKING:
    from dosirak.magics.building.view import BuildView
    from dosirak.magics.transfers.view import TransferView
    from dosirak.magics.usage.live import View


class TerminalSink:
    """Writes a container's bytes to our own standard streams."""

    def write(self, stream: int, data: bytes) -> None:
        """Write them at once."""
        target = sys.stderr if stream == 2 else sys.stdout
        target.flush()
        view = memoryview(data)
        while view:
            view = view[os.write(2 if stream == 2 else 1, view) :]

    def close(self) -> None:
        """Nothing is held back here."""


class Terminal:
    """The `dosirak` command, and magics in a terminal's IPython.

    Parameters: `text` is a cell's body, when there is one.
    """

    def __init__(self, text: str | None = None) -> None:
        self._text = text

    @property
    def is_terminal(self) -> bool:
        """Whether input and output are one."""
        return self._text is None and terminal.is_terminal()

    @property
    def escalates(self) -> bool:
        """A person at a terminal can go on pressing ^C."""
        return False

    def sink(self) -> Sink:
        """Return our standard streams."""
        return TerminalSink()

    def source(self) -> Input:
        """Return the body, or our standard input."""
        return Input(self._text.encode()) if self._text is not None else Input(fd=0)

    def body(self) -> str | None:
        """Return the cell's body."""
        return self._text

    def without_body(self) -> Terminal:
        """Return the same without the cell's body."""
        return Terminal("")

    def say(self, text: str) -> None:
        """Print a line."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print a line to standard error."""
        sys.stdout.flush()
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def ask(self, question: str, otherwise: str = "") -> str:
        """Print the question and read a line of standard input."""
        sys.stdout.write(question)
        sys.stdout.flush()
        return sys.stdin.readline()

    def ask_secret(self, question: str) -> str:
        """Print the question and read a line without showing it."""
        import getpass

        return getpass.getpass(question)

    def build_view(self) -> BuildView:
        """Return the classic lines."""
        from dosirak.magics.building.view import TextView

        return TextView(self)

    def transfer_view(self) -> TransferView:
        """Return lines."""
        from dosirak.magics.transfers.view import TextView

        return TextView(self)

    def table_view(self) -> View:
        """Return the screen."""
        from dosirak.magics.usage.live import ScreenView

        return ScreenView(is_terminal=sys.stdout.isatty())
