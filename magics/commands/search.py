"""`search`: what registries have, without pulling it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from dosirak.magics.commands.present import listing_result
from dosirak.magics.commands.pull import authority
from dosirak.magics.doors import Result, Session
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.listing import filter_map
from dosirak.magics.grammar.values import FILTER
from dosirak.magics.tables.columns import Look, word
from dosirak.magics.tables.listing import Listing

_TITLES = ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]


@click.command("search", cls=Command, usage="[OPTIONS] TERM", at_least=1, at_most=1)
@flag("-f", "--filter", "filters", type=FILTER, many=True, help="Filter, name=value: is-official, stars.")
@flag("--format", "template", help="json, table, or a Go template.")
@flag("--limit", type=int, default=0, help="Max number of search results.")
@switch("--no-trunc", help="Do not truncate.")
@click.argument("term")
@click.pass_obj
def search(
    session: Session, term: str, filters: tuple[tuple[str, str], ...], template: str, limit: int, no_trunc: bool
) -> Result:
    """Search a registry, Docker Hub unless the term begins with another; the value is a DataFrame."""
    query = {"term": term, "limit": str(limit) if limit else None, "filters": filter_map(filters)}
    found = session.engine.call("GET", "/images/search", query, headers=authority(term)).json()
    rows = [_row(hit) for hit in found]
    look = Look("search", truncate=not no_trunc)
    fields = [_fields(row, look) for row in rows]
    headers = {"StarCount": "STARS", "IsOfficial": "OFFICIAL"}
    return listing_result(Listing(_TITLES, rows, look), None, template, fields, headers)


def _row(hit: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "NAME": hit.get("name", ""),
        "DESCRIPTION": hit.get("description") or "",
        "STARS": int(hit.get("star_count") or 0),
        "OFFICIAL": bool(hit.get("is_official")),
    }


def _fields(row: Mapping[str, Any], look: Look) -> dict[str, Any]:
    shown = {title: word(look.kind, title, row[title], look) for title in _TITLES}
    return dict(zip(("Name", "Description", "StarCount", "IsOfficial"), shown.values(), strict=True))
