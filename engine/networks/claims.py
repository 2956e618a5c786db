"""Engines among themselves: taking turns, and knowing which bridge's engine lives.

Both are locks by flock(2) on sysctl files, so that a lock lies exactly where the thing it guards lies: one `ip_forward`
a network namespace, one directory of sysctls a bridge. The kernel lets go of them when their process ends, however it
ends, and nothing of them is left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from dosirak.engine.networks import sysctl


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """One engine at a time chooses a subnet, or switches forwarding."""
    fd = _open(sysctl.FORWARD)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def is_held(bridge: str) -> bool:
    """Whether the engine that made this bridge lives (or the bridge has just gone)."""
    try:
        fd = _open(_file(bridge))
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class Claims:
    """The bridges this engine holds."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def hold(self, bridge: str) -> None:
        """From now on the bridge counts as a living engine's."""
        self.drop(bridge)  # of a namesake that has gone: the file is another one now
        self._held[bridge] = fd = _open(_file(bridge))
        # Waits at most for a killed predecessor's last breath: a root has one engine at a time.
        fcntl.flock(fd, fcntl.LOCK_EX)

    def drop(self, bridge: str) -> None:
        """The bridge is held no more."""
        fd = self._held.pop(bridge, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Nothing is held any more; bridges with containers stay, for those speak for them."""
        for bridge in list(self._held):
            self.drop(bridge)


def _file(bridge: str) -> str:
    return f"ipv4/conf/{bridge}/route_localnet"


def _open(name: str) -> int:
    return os.open(f"/proc/sys/net/{name}", os.O_RDONLY | os.O_CLOEXEC)
