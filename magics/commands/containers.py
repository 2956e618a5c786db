"""`ps`: the containers as a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from dosirak.magics.commands.present import listing_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.listing import filter_map, listing_flags
from dosirak.magics.grammar.values import INT
from dosirak.magics.look import words
from dosirak.magics.tables.columns import Look, word
from dosirak.magics.tables.listing import Listing

_TITLES = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
_EXITED = re.compile(r"Exited \((-?\d+)\)")
_HEADERS = {
    "ID": "CONTAINER ID",
    "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "LocalVolumes": "LOCAL VOLUMES",
}


@click.command("ps", cls=Command, usage="[OPTIONS]", at_most=0)
@switch("-a", "--all", "all_", help="Show all containers, not only running ones.")
@flag("-n", "--last", type=INT, default=-1, help="Show the last n containers created.")
@switch("-l", "--latest", help="Show the latest container created.")
@switch("-s", "--size", help="Show how much each has written.")
@listing_flags("Return only ids.")
@click.pass_obj
def ps(
    session: Session,
    all_: bool,
    last: int,
    latest: bool,
    size: bool,
    quiet: bool,
    filters: tuple[tuple[str, str], ...],
    no_trunc: bool,
    template: str,
) -> Result:
    """List containers; the value is a DataFrame, with -q a list of ids.

    Columns STATE (a category) and EXIT CODE are there as data; on display STATUS speaks for them.
    """
    query = {
        "all": all_,
        "limit": 1 if latest and last < 0 else last if last > 0 else None,
        "size": size or ".Size" in template or "json ." in template,
        "filters": filter_map(filters),
    }
    found = session.engine.get("/containers/json", query)
    look = Look("containers", truncate=not no_trunc)
    titles = [*_TITLES, *(["SIZE"] if size else []), "STATE", "EXIT CODE"]
    listing = Listing(titles, [_row(container, whole=no_trunc) for container in found], look)
    ids = [word(look.kind, "CONTAINER ID", container["Id"], look) for container in found]
    fields = [_fields(container, row, look) for container, row in zip(found, listing.rows, strict=True)]
    return listing_result(listing, ids if quiet else None, template, fields, _HEADERS)


def _row(container: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    status = str(container.get("Status", ""))
    exited = _EXITED.match(status)
    return {
        "CONTAINER ID": container["Id"],
        "IMAGE": container.get("Image", ""),
        "COMMAND": container.get("Command", ""),
        "CREATED": datetime.fromtimestamp(container.get("Created", 0), UTC),
        "STATUS": status,
        "PORTS": words.Ports.of_summary(container.get("Ports") or []),
        "NAMES": ",".join(_names(container, whole=whole)),
        "SIZE": container.get("SizeRw", 0),
        "STATE": container.get("State", ""),
        "EXIT CODE": int(exited.group(1)) if exited else None,
    }


def _names(container: Mapping[str, Any], *, whole: bool) -> list[str]:
    """Return its names; those that links gave it (`/web/db`) only in a `whole` listing, as docker."""
    names = [name.lstrip("/") for name in container.get("Names") or []]
    return names if whole else [name for name in names if "/" not in name] or names


def _fields(container: Mapping[str, Any], row: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """Return the fields that a template sees (docker/cli, formatter.ContainerContext)."""
    labels = container.get("Labels") or {}
    mounts = [mount.get("Name") or mount.get("Source", "") for mount in container.get("Mounts") or []]
    shown = {title: word(look.kind, title, row[title], look) for title in row}
    written = words.size(container.get("SizeRw") or 0)
    virtual = container.get("SizeRootFs")
    fields = {
        "ID": shown["CONTAINER ID"],
        "Names": shown["NAMES"],
        "Image": shown["IMAGE"] or "<no image>",
        "Command": shown["COMMAND"],
        "CreatedAt": row["CREATED"].astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z"),
        "RunningFor": shown["CREATED"],
        "Ports": shown["PORTS"],
        "State": row["STATE"],
        "Status": row["STATUS"],
        "Size": f"{written} (virtual {words.size(virtual)})" if virtual else written,
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "Label": lambda name: labels.get(name, ""),
        "Mounts": ",".join(words.shorten(mount, 15) if look.truncate else mount for mount in mounts),
        "LocalVolumes": str(sum(1 for mount in container.get("Mounts") or [] if mount.get("Driver") == "local")),
        "Networks": ",".join((container.get("NetworkSettings") or {}).get("Networks") or {}),
        "Platform": _Platform((container.get("ImageManifestDescriptor") or {}).get("platform") or {}) or None,
    }
    return dict(sorted(fields.items()))  # as `{{json .}}` shows them


class _Platform(dict[str, Any]):
    """An object for `json`, else one word: "linux/arm64/v8"."""

    def __str__(self) -> str:
        return "/".join(str(self[part]) for part in ("os", "architecture", "variant") if self.get(part))
