"""Lines of text, as `-q` and `--format` yield them: a list of strings that prints as lines."""

from __future__ import annotations

from dosirak.magics.look.text import visible


class Lines(list[str]):
    """`ids = %container ps -aq`, then `%container rm {ids}`."""

    def __repr__(self) -> str:
        return visible("\n".join(self))

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        # IPython would print a list subclass as a list.
        printer.text(repr(self))  # type: ignore[attr-defined]
