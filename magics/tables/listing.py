"""A listing as it comes from the engine: rows of real values, without pandas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dosirak.magics.tables.columns import Look, shown_titles, word

if TYPE_CHECKING:
    from dosirak.magics.tables.frame import Frame


@dataclass(frozen=True)
class Listing:
    """Rows of values by column title. `titles` fixes the order; `look` how they are worded."""

    titles: list[str]
    rows: list[dict[str, Any]]
    look: Look = field(default_factory=Look)

    def frame(self) -> Frame:
        """Return a DataFrame of it (imports pandas)."""
        from dosirak.magics.tables.frame import make_frame

        return make_frame(self)

    def text(self) -> str:
        """Return Docker's text table."""
        from dosirak.magics.tables.text import draw

        kind = self.look.kind
        titles = shown_titles(kind, self.titles)
        words = [[word(kind, title, row[title], self.look) for title in titles] for row in self.rows]
        return draw(titles, words, least=20 if kind == "top" else 10)
