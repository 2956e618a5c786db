"""Content digests of files, remembered by what stat says: an unchanged file is not read twice."""

from __future__ import annotations

import hashlib
import os
import time

from dosirak.engine.build.threads import Stop

_PIECE = 1 << 20
_MOST = 400_000
_SETTLED_NS = 2_000_000_000

Identity = tuple[int, int, int, int, int]


class Digests:
    """Remembers digests by device, inode, size, mtime and ctime. Used from several threads.

    A file that changed less than two seconds before it was read is not remembered: a further change could leave all
    of these as they are, for clocks tick coarsely.
    """

    def __init__(self) -> None:
        self._known: dict[Identity, bytes] = {}

    def digest(self, fd: int, status: os.stat_result, stop: Stop) -> bytes:
        """The sha256 of the regular file open at `fd`, whose fstat is `status`. Raises OSError, Stopped."""
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._known.get(identity)
        if known is not None:
            return known
        total = hashlib.sha256()
        while piece := os.read(fd, _PIECE):
            total.update(piece)
            if len(piece) == _PIECE:
                stop.check()
        digest = total.digest()
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[identity] = digest
        return digest
