"""`images --tree`: each image with the platforms that are here of it, as Docker draws it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.listing import Listing

_TITLES = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "IN USE"]


def listing(images: Iterable[Mapping[str, Any]], look: Look) -> Listing:
    """The table of what `GET /images/json?manifests=1` answers."""
    ordered = sorted(images, key=lambda image: (not image.get("RepoTags"), sorted(image.get("RepoTags") or [])))
    return Listing(_TITLES, [row for image in ordered for row in _rows(image)], look)


def _rows(image: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each of an image's names; below the last, its platforms."""
    platforms = [one for one in image.get("Manifests") or [] if one.get("Kind") == "image"]
    content = sum(one["Size"]["Content"] for one in image.get("Manifests") or [])
    used = image.get("Containers", 0) > 0 or any(one["ImageData"]["Containers"] for one in platforms)
    for name in sorted(image.get("RepoTags") or []) or ["<untagged>"]:
        yield _row(name, image["Id"], image["Size"], content, used)
    for number, one in enumerate(platforms, 1):
        branch = "└─" if number == len(platforms) else "├─"
        size, data = one["Size"], one["ImageData"]
        yield _row(
            f"{branch} {_platform(data['Platform'])}",
            one["ID"],
            size["Total"],
            size["Content"],
            bool(data["Containers"]),
        )


def _row(name: str, identity: str, usage: int, content: int, used: bool) -> dict[str, Any]:
    return dict(zip(_TITLES, (name, identity, usage, content, used), strict=True))


def _platform(found: Mapping[str, str]) -> str:
    return "/".join(filter(None, (found.get("os"), found.get("architecture"), found.get("variant"))))
