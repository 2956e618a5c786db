"""`network ls`."""

from __future__ import annotations

import click

from dosirak.magics.commands.present import listing_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.grammar.flags import Command
from dosirak.magics.grammar.listing import filter_map, listing_flags
from dosirak.magics.tables.columns import Look, word
from dosirak.magics.tables.listing import Listing


@click.command("ls", cls=Command, usage="[OPTIONS]", at_most=0)
@listing_flags("Return only ids.")
@click.pass_obj
def ls(session: Session, quiet: bool, filters: tuple[tuple[str, str], ...], no_trunc: bool, template: str) -> Result:
    """List networks; the value is a DataFrame, with -q a list of ids."""
    found = session.engine.get("/networks", {"filters": filter_map(filters)})
    look = Look("networks", truncate=not no_trunc)
    rows = [
        {
            "NETWORK ID": network["Id"],
            "NAME": network.get("Name", ""),
            "DRIVER": network.get("Driver", ""),
            "SCOPE": network.get("Scope", ""),
        }
        for network in sorted(found, key=lambda network: str(network.get("Name")))
    ]
    listing = Listing(["NETWORK ID", "NAME", "DRIVER", "SCOPE"], rows, look)
    ids = [word(look.kind, "NETWORK ID", row["NETWORK ID"], look) for row in rows]
    fields = [
        {"ID": short, "Name": row["NAME"], "Driver": row["DRIVER"], "Scope": row["SCOPE"]}
        for short, row in zip(ids, rows, strict=True)
    ]
    return listing_result(listing, ids if quiet else None, template, fields, {"ID": "NETWORK ID"})
