"""What a command sees of the person in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from dosirak.magics.streams.pump import Input, Sink

if TYPE_CHECKING:
    from dosirak.magics.building.view import BuildView
    from dosirak.magics.engine import Engine
    from dosirak.magics.transfers.view import TransferView
    from dosirak.magics.usage.live import View


class Door(Protocol):
    """A notebook or a terminal."""

    @property
    def is_terminal(self) -> bool:
        """Whether a person types into a real terminal: raw mode, sizes and detach keys make sense."""

    @property
    def escalates(self) -> bool:
        """Whether an interrupted container is killed when it does not end (a cell can't be left hanging)."""

    def sink(self) -> Sink:
        """Return where a container's output goes."""

    def source(self) -> Input:
        """Return what a container's standard input gets."""

    def body(self) -> str | None:
        """Return the cell's body, or None."""

    def without_body(self) -> Door:
        """Return the same, for a command that has its body in another way."""

    def say(self, text: str) -> None:
        """Print a line to standard output."""

    def note(self, text: str) -> None:
        """Print a line to standard error."""

    def ask(self, question: str, otherwise: str = "use --force") -> str:
        """Ask a person and return the answer; raises DosirakError where there is nobody to ask.

        Parameters: `otherwise` is what to do then.
        """

    def ask_secret(self, question: str) -> str:
        """Ask for what nobody else may see; raises DosirakError where there is nobody to ask."""

    def build_view(self) -> BuildView:
        """Return what shows a build's progress."""

    def transfer_view(self) -> TransferView:
        """Return what shows a pull's or push's progress."""

    def table_view(self) -> View:
        """Return what shows a table that changes."""


@dataclass
class Session:
    """One command line's surroundings, click's `obj`."""

    door: Door
    program: str = "docker"
    line: str = ""
    """A magic's line as it was typed; it stays in the notebook."""

    @cached_property
    def engine(self) -> Engine:
        """The engine, connected (and started when it is ours) at first use."""
        from dosirak.magics.engine import connect

        return connect()


@dataclass(frozen=True)
class Result:
    """What a command yields: `value` for Python, `plain` for a terminal (None: nothing is printed), and a status."""

    value: Any = None
    plain: str | None = None
    exit_code: int = 0
