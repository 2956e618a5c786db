"""`--format raw` of the listings that have it: a line for each field (docker/cli, cli/command/formatter)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

# Of each listing: the lines, the fields, and the column without which there is none of it.
_LINES = {
    "containers": (
        ("container_id", "ID", ""),
        ("image", "Image", ""),
        ("command", "Command", ""),
        ("created_at", "CreatedAt", ""),
        ("state", "State", ""),
        ("status", "Status", ""),
        ("names", "Names", ""),
        ("labels", "Labels", ""),
        ("ports", "Ports", ""),
        ("size", "Size", "SIZE"),
    ),
    "images": (
        ("repository", "Repository", ""),
        ("tag", "Tag", ""),
        ("digest", "Digest", "DIGEST"),
        ("image_id", "ID", ""),
        ("created_at", "CreatedAt", ""),
        ("virtual_size", "Size", ""),
    ),
    "networks": (("network_id", "ID", ""), ("name", "Name", ""), ("driver", "Driver", ""), ("scope", "Scope", "")),
    "volumes": (("name", "Name", ""), ("driver", "Driver", "")),
}
_QUIET = {"containers": "container_id", "images": "image_id", "networks": "network_id", "volumes": "name"}


def has_raw(kind: str) -> bool:
    """Whether docker knows `--format raw` for this listing; elsewhere it is a text."""
    return kind in _LINES


def raw_rows(kind: str, rows: Sequence[Mapping[str, Any]], columns: Collection[str]) -> list[str]:
    """Return a block of lines for each row. Parameters: `columns`: the titles that the table would have."""
    lines = []
    for row in rows:
        lines += [f"{name}: {row[key]}".rstrip() for name, key, column in _LINES[kind] if column in ("", *columns)]
        lines.append("")
    return lines


def raw_ids(kind: str, ids: Sequence[str]) -> list[str]:
    """Return the lines of `-q --format raw`."""
    return [f"{_QUIET[kind]}: {one}" for one in ids]
