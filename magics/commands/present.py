"""How listings and inspected documents become results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dosirak.magics.doors import Result
from dosirak.magics.look.text import as_json
from dosirak.magics.objects.document import Documents
from dosirak.magics.objects.lines import Lines
from dosirak.magics.tables.listing import Listing


class LazyFrame:
    """A listing that becomes a DataFrame only where one is wanted: a terminal prints it without pandas."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing


def listing_result(
    listing: Listing,
    quiet: Sequence[str] | None,
    template: str,
    fields: Sequence[Mapping[str, Any]],
    headers: Mapping[str, str],
) -> Result:
    """Return a listing's result.

    Parameters: `quiet` are the ids when -q was given; `fields` are the rows as a `--format` template sees them,
    `headers` its titles where they are not the field's name.
    """
    if template and template != "table" and not (quiet is not None and template.startswith("table")):
        from dosirak.magics.templates import raw
        from dosirak.magics.templates.rows import format_rows

        kind = listing.look.kind
        if template == "raw" and raw.has_raw(kind):
            return lines_result(
                raw.raw_rows(kind, fields, listing.titles) if quiet is None else raw.raw_ids(kind, quiet)
            )
        return lines_result(format_rows(template, fields, headers, kind))
    if quiet is not None:
        return lines_result(quiet)
    return Result(LazyFrame(listing), listing.text())


def lines_result(lines: Sequence[str]) -> Result:
    """Return lines of text."""
    return Result(Lines(lines), "\n".join(lines) if lines else None)


def documents_result(documents: list[Any], template: str) -> Result:
    """Return inspected documents: a foldable tree in a cell, JSON in a terminal, lines with --format."""
    if template:
        from dosirak.magics.templates.rows import format_documents

        return lines_result(format_documents(template, documents))
    return Result(Documents(documents), as_json(documents, indent=4))
