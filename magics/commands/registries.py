"""`registry ls`: which registries we are logged in to. Ours alone; Docker has no such list."""

from __future__ import annotations

import click

from dosirak.magics.commands.present import listing_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.logins import HUB, Logins, hostname
from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.listing import Listing


@click.command("ls", cls=Command, usage="[OPTIONS]", at_most=0)
@switch("-q", "--quiet", help="Return only the registries' names.")
@flag("--format", "template", help="json, table, or a Go template.")
@click.pass_obj
def ls(session: Session, quiet: bool, template: str) -> Result:
    """List the registries that somebody is logged in to; the value is a DataFrame, with -q a list of names."""
    rows = [
        {
            "REGISTRY": "docker.io" if kept.server == HUB else hostname(kept.server),
            "USER": kept.user,
            "KEPT IN": kept.where,
        }
        for kept in Logins().all()
    ]
    listing = Listing(["REGISTRY", "USER", "KEPT IN"], rows, Look("registries"))
    names = [str(row["REGISTRY"]) for row in rows] if quiet else None
    fields = [{"Registry": row["REGISTRY"], "User": row["USER"], "KeptIn": row["KEPT IN"]} for row in rows]
    return listing_result(listing, names, template, fields, {"KeptIn": "KEPT IN"})
