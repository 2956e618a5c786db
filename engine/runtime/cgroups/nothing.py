"""No cgroups: an ordinary user on a host that delegates none. Containers run, without limits and without figures."""

from __future__ import annotations

import errno

from dosirak.engine.runtime.cgroups import v1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Nothing(v1.Hierarchies):
    """As v1 without a single controller. What asks for limits is warned off long before (`containers.limits`)."""

    def __init__(self) -> None:
        super().__init__({})

    def get_ready(self, devices: list[dict[str, Any]], spare: int) -> str:
        """No group."""
        return ""

    def forget_ready(self, spare: int) -> None:
        """There is none."""

    def sweep_ready(self) -> None:
        """There is none."""

    def create(self, path: str, resources: dict[str, Any]) -> list[int]:
        """No group, so none to join."""
        return []

    def update(self, path: str, resources: dict[str, Any]) -> None:
        """There is nothing to change. Raises OSError for any limit."""
        if resources:
            raise _unable()

    def join_fds(self, path: str) -> list[int]:
        """None."""
        return []

    def oom_kills(self, path: str) -> int:
        """Nobody counts."""
        return 0

    def limit_hits(self, path: str) -> int:
        """Nobody counts."""
        return 0

    def processes(self, path: str) -> list[int]:
        """Nobody knows by a path alone."""
        return []

    def freeze(self, path: str) -> None:
        """Raises OSError."""
        raise _unable()

    def thaw(self, path: str) -> None:
        """Nothing is frozen."""

    def frozen(self, path: str) -> bool:
        """Nothing is."""
        return False

    def kill(self, path: str) -> None:
        """What shares its pid namespace with others lives on."""

    def exists(self, path: str) -> bool:
        """There is none."""
        return False

    def remove(self, path: str) -> None:
        """There is none."""

    def remove_parent(self, path: str) -> None:
        """There is none."""


def _unable() -> OSError:
    return OSError(errno.EOPNOTSUPP, "no cgroup of this host is this user's")
