"""Docker's text table: columns as wide as their longest word, three spaces apart, nothing else."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from dosirak.magics.look.text import one_line

GAP = 3


def draw(
    titles: Sequence[object], rows: Sequence[Sequence[str]], index: Sequence[str] | None = None, least: int = 10
) -> str:
    """Return the table. Parameters: `index` is a first column without a title; `least`: a column's width."""
    table = [[one_line(title) for title in titles], *([one_line(cell) for cell in row] for row in rows)]
    if index is not None:
        table = [[label, *row] for label, row in zip(["", *map(one_line, index)], table, strict=True)]
    # As Go's tabwriter in docker/cli: a column is at least so wide with its gap.
    widths = [max(least, GAP + max(map(_width, column))) for column in zip(*table, strict=True)]
    return "\n".join(_line(row, widths) for row in table)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(row[:-1], widths, strict=False)]
    return "".join([*padded, *row[-1:]])


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)
