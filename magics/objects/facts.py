"""A few named facts with a title: what `version`, `info` and `status` yield."""

from __future__ import annotations

from dosirak.magics.look.html import card, mono, tag
from dosirak.magics.look.text import one_line


class Facts(dict[str, str]):
    """Names and values in order; a dict to look into, a card to look at."""

    def __init__(self, title: str, facts: list[tuple[str, str]]) -> None:
        super().__init__(facts)
        self.title = title
        self._facts = facts

    def __repr__(self) -> str:
        width = max([len(name) for name, _ in self._facts] or [0]) + 2
        return "\n".join(f"{name + ':':<{width}}{one_line(value)}" for name, value in self._facts)

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        # IPython would print a dict subclass as a dict.
        printer.text(repr(self))  # type: ignore[attr-defined]

    def _repr_html_(self) -> str:
        return card(tag("b", self.title), [(name, mono(value)) for name, value in self._facts])
