"""Where a container's cgroup is."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime import cgroups

if TYPE_CHECKING:
    from dosirak.engine.containers.model import Container


_LONGEST_NAME = 255


def check(parent: str) -> None:
    """Raises InvalidRequest for a parent whose cgroup could never be made."""
    if not parent.isprintable() or any(len(name.encode()) > _LONGEST_NAME for name in parent.split("/")):
        raise InvalidRequest(f"invalid cgroup parent: {parent!r}")


def path_of(record: Container) -> str:
    """Below the hierarchies' roots: `dosirak/ID` (or in this engine's scope), or `PARENT/ID` with `--cgroup-parent`.

    A parent is taken from the root, also without a leading slash, and ".." leads nowhere above it (as in runc).
    """
    if not (asked := record.host_config.cgroup_parent):
        return f"{cgroups.parent()}/{record.id}"
    return posixpath.join(posixpath.normpath(f"/{asked}").lstrip("/"), record.id)
