"""A pandas DataFrame that shows Docker's words: only its display differs, everything else is pandas'."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from dosirak.magics.look import theme
from dosirak.magics.look.html import PLAIN, Markup, dot, join, link, tag
from dosirak.magics.look.words import Port, Ports
from dosirak.magics.tables.columns import COLUMNS, Look, shown_titles, word
from dosirak.magics.tables.listing import Listing
from dosirak.magics.tables.text import draw


class Frame(pd.DataFrame):
    """A listing: `ps[ps.STATE == "running"].sort_values("CREATED")` keeps its looks, `ps.SIZE.sum()` is a number."""

    _metadata: ClassVar[list[str]] = ["look"]  # pandas hands it on to what is made of this frame
    look = Look()

    @property
    def _constructor(self) -> type[Frame]:
        return Frame

    def __repr__(self) -> str:
        titles, positions = self._shown()
        rows = [[self._word(title, row, self.columns.get_loc(title)) for title in titles] for row in positions]
        index = None if self._plain_index else [str(self.index[row]) for row in positions]
        text = draw(titles, rows, index) if titles else "(no columns)"
        return text if len(positions) == len(self) else f"{text}\n… {len(self)} rows in all"

    def _repr_html_(self) -> str:
        titles, positions = self._shown()
        index = not self._plain_index
        head = [tag("th", title, style=f"text-align:{self._align(title)};white-space:nowrap") for title in titles]
        if index:
            head.insert(0, tag("th"))
        body = []
        for row in positions:
            cells = [self._cell(title, row) for title in titles]
            if index:
                cells.insert(0, tag("th", self.index[row]))
            body.append(tag("tr", *cells))
        table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), border="0", class_="dataframe")
        if len(positions) == len(self):
            return tag("div", table, class_=PLAIN)
        rest = tag("div", f"… {len(self)} rows in all", style=f"color:{theme.GREY}")
        return tag("div", table, rest, class_=PLAIN)

    def _shown(self) -> tuple[list[Any], list[int]]:
        titles = list(dict.fromkeys(shown_titles(self.look.kind, list(self.columns))))
        limit = pd.get_option("display.max_rows") or len(self)
        count = len(self)
        if count <= limit:
            return titles, list(range(count))
        half = limit // 2
        return titles, [*range(half), *range(count - half, count)]

    @property
    def _plain_index(self) -> bool:
        """Whether the index is row numbers nobody chose; Docker's tables have none, so those are not shown."""
        return self.index.name is None and self.index.nlevels == 1 and pd.api.types.is_integer_dtype(self.index.dtype)

    def _word(self, title: Any, row: int, column: Any) -> str:
        if not isinstance(column, int):  # a title that several columns have
            return str(self.iloc[row][title].tolist())
        return word(self.look.kind, title, self.iat[row, column], self.look)

    def _cell(self, title: Any, row: int) -> Markup:
        column = self.columns.get_loc(title)
        text = self._word(title, row, column)
        style = f"text-align:{self._align(title)};vertical-align:top;white-space:"
        value = self.iat[row, column] if isinstance(column, int) else None
        if isinstance(value, Ports):
            return tag("td", _port_links(value), style=f"{style}normal")
        # A narrow page breaks lines between words; an id or a name has none.
        style += "pre" if len(text) < 30 and " " not in text else "pre-wrap"
        if title == "STATUS" and "STATE" in self.columns:
            return tag("td", dot(self._colour(row)), join(" ", text), style=style)
        if title == "STATE" and self.look.kind == "doctor":
            return tag("td", dot(theme.state_colour(text)), join(" ", text), style=style)
        return tag("td", text, style=style)

    def _align(self, title: Any) -> str:
        known = COLUMNS.get(self.look.kind, {}).get(title)
        return "right" if known and known.right else "left"

    def _colour(self, row: int) -> str:
        code: Any = self["EXIT CODE"].iat[row] if "EXIT CODE" in self.columns else None
        return theme.state_colour(str(self["STATE"].iat[row]), None if code is None or pd.isna(code) else int(code))


def make_frame(listing: Listing) -> Frame:
    """Return the listing as a Frame with each column's type."""
    known = COLUMNS.get(listing.look.kind, {})
    data = {}
    for title in listing.titles:
        values = [row[title] for row in listing.rows]
        data[title] = _series(values, known[title].dtype if title in known else "str")
    frame = Frame(data, columns=listing.titles)
    frame.look = listing.look
    return frame


def _series(values: list[Any], dtype: str) -> pd.Series[Any]:
    if dtype == "datetime":
        return pd.Series(pd.to_datetime(values, utc=True))
    if dtype == "object":
        series = pd.Series([None] * len(values), dtype="object")
        for row, value in enumerate(values):  # one by one: pandas would spread tuples over columns
            series.iat[row] = value
        return series
    return pd.Series(values, dtype=dtype)


def _port_links(ports: Ports) -> Markup:
    parts: list[object] = []
    for part in str(ports).split(", "):
        port = next((p for p in ports if str(p) == part and p.url), None)
        word = link(part, port.url) if isinstance(port, Port) else part
        # Lines break between ports, not within one.
        parts += [", " if parts else "", tag("span", word, style="white-space:nowrap")]
    return join(*parts)
