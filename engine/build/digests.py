"""What files hold, remembered by what stat says: an unchanged file is not even opened twice."""

from __future__ import annotations

import hashlib
import os
import time
from typing import NamedTuple

from dosirak.engine.build.threads import Stop

_PIECE = 1 << 20
_MOST = 100_000
_SETTLED_NS = 2_000_000_000
_XATTRS = ("user.", "security.capability")

Identity = tuple[int, int, int, int, int]


class Content(NamedTuple):
    """A regular file's content: its sha256, and the extended attributes that are copied with it."""

    digest: bytes
    xattrs: tuple[tuple[str, bytes], ...]


class Digests:
    """Remembers contents by device, inode, size, mtime and ctime. Used from several threads.

    A file that changed less than two seconds before it was read is not remembered: a further change could leave all
    of these as they are, for clocks tick coarsely.
    """

    def __init__(self) -> None:
        self._known: dict[Identity, Content] = {}

    def known(self, status: os.stat_result) -> Content | None:
        """The content of a regular file that has not changed since it was read."""
        return self._known.get(_identity(status))

    def read(self, fd: int, status: os.stat_result, stop: Stop) -> Content:
        """The content of the regular file open at `fd`, whose fstat is `status`. Raises OSError, Stopped."""
        total = hashlib.sha256()
        while piece := os.read(fd, _PIECE):
            total.update(piece)
            if len(piece) == _PIECE:
                stop.check()
        content = Content(total.digest(), read_xattrs(fd))
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[_identity(status)] = content
        return content


def read_xattrs(fd: int) -> tuple[tuple[str, bytes], ...]:
    """The extended attributes that are copied: the user's, and file capabilities."""
    try:
        names = os.listxattr(fd)
    except OSError:  # a file system without them
        return ()
    wanted = sorted(name for name in names if name.startswith(_XATTRS) and not name.startswith("user.overlay."))
    return tuple((name, os.getxattr(fd, name)) for name in wanted)


def _identity(status: os.stat_result) -> Identity:
    # ctime changes with owner, mode and attributes too
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
