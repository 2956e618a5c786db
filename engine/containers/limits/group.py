"""Where a container's cgroup is, and who is in it."""

from __future__ import annotations

import contextlib
import os
import posixpath
from typing import TYPE_CHECKING

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import nothing

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


def processes(record: Container, pid: int) -> list[int]:
    """The processes of a container whose first is `pid`: those in its cgroup; where there is none, those of its pid
    namespace, if that is its own."""
    if not isinstance(cgroups.backend(), nothing.Nothing):
        return cgroups.processes(path_of(record))
    if not pid or record.host_config.pid_mode:
        return [pid] if pid else []
    found = []
    try:
        own = os.stat(f"/proc/{pid}/ns/pid").st_ino  # noqa: PTH116
        for name in os.listdir("/proc"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                if name.isdigit() and os.stat(f"/proc/{name}/ns/pid").st_ino == own:  # noqa: PTH116
                    found.append(int(name))
    except OSError:
        return []
    return found
