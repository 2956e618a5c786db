"""`system df`: what takes how much, and how much a prune would give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from dosirak.magics.commands.present import documents_result, listing_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import UsageError
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.look import words
from dosirak.magics.look.words import Share
from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.listing import Listing

_TITLES = ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
_ACTIVE = ("running", "paused", "restarting")


@click.command("df", cls=Command, usage="[OPTIONS]", at_most=0)
@switch("-v", "--verbose", help="Show every thing by itself: the engine's document.")
@flag("--format", "template", help="json, table, or a Go template.")
@click.pass_obj
def df(session: Session, verbose: bool, template: str) -> Result:
    """Show disk usage by kind of thing; the value is a DataFrame."""
    found = session.engine.get("/system/df")
    if verbose:
        if template.startswith("table"):
            raise UsageError("a table of everything isn't possible; leave out --format or -v", 1)
        return documents_result([found], template)
    rows = [_images(found), _containers(found), _volumes(found), _cache(found)]
    fields = [
        {
            "Type": row["TYPE"],
            "TotalCount": str(row["TOTAL"]),
            "Active": str(row["ACTIVE"]),
            "Size": words.size(row["SIZE"]),
            "Reclaimable": str(row["RECLAIMABLE"]),
        }
        for row in rows
    ]
    return listing_result(Listing(_TITLES, rows, Look("usage")), None, template, fields, {"TotalCount": "TOTAL"})


def _row(kind: str, total: int, active: int, size: int, used: int, *, percent: bool = True) -> dict[str, Any]:
    return {
        "TYPE": kind,
        "TOTAL": total,
        "ACTIVE": active,
        "SIZE": size,
        "RECLAIMABLE": Share(size - used, size if percent else 0),
    }


def _images(found: Mapping[str, Any]) -> dict[str, Any]:
    images: Sequence[Mapping[str, Any]] = found.get("Images") or []
    active = [image for image in images if image.get("Containers", 0) > 0]
    used = sum(
        image["Size"] - image["SharedSize"] for image in active if -1 not in (image["Size"], image["SharedSize"])
    )
    return _row("Images", len(images), len(active), int(found.get("LayersSize") or 0), used)


def _containers(found: Mapping[str, Any]) -> dict[str, Any]:
    containers: Sequence[Mapping[str, Any]] = found.get("Containers") or []
    active = [container for container in containers if container.get("State") in _ACTIVE]
    size, used = (sum(container.get("SizeRw", 0) for container in some) for some in (containers, active))
    return _row("Containers", len(containers), len(active), size, used)


def _volumes(found: Mapping[str, Any]) -> dict[str, Any]:
    volumes = [volume.get("UsageData") or {} for volume in found.get("Volumes") or []]
    active = [usage for usage in volumes if usage.get("RefCount", 0) > 0]
    size, used = (sum(max(0, usage.get("Size", 0)) for usage in some) for some in (volumes, active))
    return _row("Local Volumes", len(volumes), len(active), size, used)


def _cache(found: Mapping[str, Any]) -> dict[str, Any]:
    records: Sequence[Mapping[str, Any]] = found.get("BuildCache") or []
    size = sum(record.get("Size", 0) for record in records if not record.get("Shared"))
    used = sum(record.get("Size", 0) for record in records if record.get("InUse") and not record.get("Shared"))
    in_use = sum(1 for record in records if record.get("InUse"))
    return _row("Build Cache", len(records), in_use, size, used, percent=False)
