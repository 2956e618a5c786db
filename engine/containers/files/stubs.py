"""What the runtime makes in every container's root to mount on, and no container is said to have made.

Docker has a layer of its own between image and container for these (moby, daemon/initlayer); here they lie in the
container's upper directory, and are passed over wherever its changes are told.
"""

from __future__ import annotations

import os
import stat

_DIRECTORIES = frozenset({b"dev", b"dev/pts", b"dev/shm", b"etc", b"proc", b"sys"})
_FILES = frozenset({b"dev/console", b"etc/hosts", b"etc/hostname", b"etc/resolv.conf"})


def is_stub(path: bytes, status: os.stat_result) -> bool:
    """Whether an entry of the upper directory (its path below that, what lstat says) is a mere place to mount on."""
    if stat.S_ISDIR(status.st_mode):
        return path in _DIRECTORIES
    return path in _FILES and stat.S_ISREG(status.st_mode) and not status.st_size
