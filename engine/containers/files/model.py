"""What the files room hands to others: plain data."""

from __future__ import annotations

from enum import IntEnum

import msgspec


class PathStat(msgspec.Struct, frozen=True, kw_only=True):
    """What `docker cp` wants to know of a path before it copies.

    `mode`: as stat(2) has it; `mtime`: unix nanoseconds; `link_target`: of a symlink, the path it leads to in the end
    inside the container, "" for anything else.
    """

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str = ""


class Kind(IntEnum):
    """What has become of a path, in Docker's numbers."""

    CHANGED = 0
    ADDED = 1
    DELETED = 2


class Change(msgspec.Struct, frozen=True, rename="pascal"):
    """One path that differs from the image; there may be very many, so it is encoded as Docker shows it."""

    path: str
    kind: Kind


class Size(msgspec.Struct, frozen=True):
    """Bytes of the container's own files, and of everything it sees."""

    own: int
    whole: int
