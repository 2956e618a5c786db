"""`volume create`, `ls`, `rm`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from dosirak.magics.commands import many
from dosirak.magics.commands.present import lines_result, listing_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import NotSupported, UsageError
from dosirak.magics.grammar.create.keyvalues import pair_map
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.listing import filter_map, listing_flags
from dosirak.magics.grammar.values import LABEL, LIST
from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.listing import Listing


@click.command("create", cls=Command, usage="[OPTIONS] [VOLUME]", at_most=1)
@flag("-d", "--driver", default="local", help="Volume driver (local only).")
@flag("--label", "labels", type=LABEL, many=True, help="Set a label.")
@flag("-o", "--opt", "options", type=LIST, many=True, help="Driver option, key=value.")
@flag("--name", help="The volume's name.", hidden=True)
@click.argument("volume", required=False)
@click.pass_obj
def create(
    session: Session, volume: str | None, driver: str, labels: tuple[str, ...], options: tuple[str, ...], name: str
) -> Result:
    """Create a volume; the value is a list of its name."""
    if volume and name:
        raise UsageError(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
        )
    asked = {"Name": volume or name, "Driver": driver, "DriverOpts": pair_map(options), "Labels": pair_map(labels)}
    body = {key: value for key, value in asked.items() if value}
    return lines_result([str(session.engine.post("/volumes/create", body=body)["Name"])])


@click.command("ls", cls=Command, usage="[OPTIONS]", at_most=0)
@listing_flags("Return only names.")
@switch("--cluster", help="Not supported.", hidden=True)
@click.pass_obj
def ls(
    session: Session,
    quiet: bool,
    filters: tuple[tuple[str, str], ...],
    no_trunc: bool,
    template: str,
    cluster: bool,
) -> Result:
    """List volumes; the value is a DataFrame, with -q a list of names."""
    if cluster:
        raise NotSupported("--cluster: not supported by Dosirak (it has no swarm)")
    found = session.engine.get("/volumes", {"filters": filter_map(filters)}).get("Volumes") or []
    found.sort(key=lambda volume: str(volume["Name"]))
    rows = [{"DRIVER": volume.get("Driver", ""), "VOLUME NAME": volume["Name"]} for volume in found]
    names = [str(volume["Name"]) for volume in found] if quiet else None
    fields = [_fields(volume) for volume in found]
    return listing_result(
        Listing(["DRIVER", "VOLUME NAME"], rows, Look("volumes")), names, template, fields, {"Name": "VOLUME NAME"}
    )


def _fields(volume: Mapping[str, Any]) -> dict[str, Any]:
    """What a template sees (docker/cli, formatter.volumeContext)."""
    labels = volume.get("Labels") or {}
    return {
        "Name": volume["Name"],
        "Driver": volume.get("Driver", ""),
        "Scope": volume.get("Scope", ""),
        "Mountpoint": volume.get("Mountpoint", ""),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Label": lambda name: labels.get(name, ""),
        "Links": "N/A",
        "Size": "N/A",
    }


@click.command("rm", cls=Command, usage="[OPTIONS] VOLUME [VOLUME...]", at_least=1)
@switch("-f", "--force", help="Do not fail for one that is not there.")
@click.argument("volumes", nargs=-1)
@click.pass_obj
def remove(session: Session, volumes: tuple[str, ...], force: bool) -> Result:
    """Remove volumes and what is in them."""
    return many.told(session, volumes, lambda name: session.engine.delete(f"/volumes/{name}", {"force": force}))
