"""Control groups behind one small interface with two implementations: `v2` (the unified hierarchy) and `v1`
(also hybrid hosts, whose controllers are on v1); `nothing` stands for a user who has been given none.

A cgroup is named by its path below the hierarchy's root ("dosirak/<id>"). `Cgroup` makes and fills one; `processes`,
`kill` and `remove` serve whoever has only the path.
"""

from __future__ import annotations

from dosirak.engine.runtime import privilege
from dosirak.engine.runtime.cgroups import files, nothing, v1, v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PARENT = files.PARENT


class _Host:
    """Which implementation this host has, found out once, and where this engine's groups are."""

    backend: v1.Hierarchies | v2.Hierarchy | None = None
    parent = PARENT


def backend() -> v1.Hierarchies | v2.Hierarchy:
    """The host's cgroup implementation: v2 where it is what is at /sys/fs/cgroup."""
    if _Host.backend is None:
        _Host.backend = _delegated() if privilege.here().confined else v2.detect() or v1.detect()
    return _Host.backend


def _delegated() -> v1.Hierarchies | v2.Hierarchy:
    """What an ordinary user has been given: a part of the unified hierarchy, or nothing."""
    return v2.detect_delegated() or nothing.Nothing()


def version() -> str:
    """ "2", "1", as `docker info` has it."""
    return backend().version


def parent() -> str:
    """The cgroup that holds those of this engine's containers that ask for no other."""
    return _Host.parent


def settle(path: str) -> None:
    """Have them in a group that the host handed to this engine. For the process that gives containers their paths."""
    _Host.parent = path


def get_ready(devices: list[dict[str, Any]], spare: int) -> str:
    """Do ahead of time what can be done for a group with these device rules; `create` then takes it.

    Parameters: `spare`: the pid of whoever sees to `forget_ready`. Returns the path of the group that is there, "" if
    none is. Raises OSError.
    """
    return backend().get_ready(devices, spare)


def took_ready() -> bool:
    """Whether the last group made is the one that was ready, in every hierarchy."""
    return backend().took_ready


def forget_ready(spare: int) -> None:
    """Remove what `get_ready` made for this pid, if nobody took it."""
    backend().forget_ready(spare)


def sweep_ready() -> None:
    """Remove what `get_ready` made for processes that are no more."""
    backend().sweep_ready()


def create(path: str, resources: dict[str, Any]) -> list[int]:
    """Make the cgroup and set its limits (`linux.resources` of config.json).

    Returns descriptors: a process joins by writing "0" to each. Raises OSError; what was made stays for `remove`.
    """
    return backend().create(path, resources)


def update(path: str, resources: dict[str, Any]) -> None:
    """Change the limits of an existing cgroup. Raises OSError."""
    backend().update(path, resources)


def join_fds(path: str) -> list[int]:
    """Descriptors by which a process joins an existing cgroup. Raises OSError when it is gone."""
    return backend().join_fds(path)


def join_beside_fds(path: str, pidfd: int) -> list[int]:
    """Descriptors by which a further process joins the container whose first process `pidfd` is. Raises OSError."""
    return backend().join_beside_fds(path, pidfd)


def renew(path: str) -> None:
    """Make the cgroup of an earlier run fit for the next: thawed, and joinable. Raises OSError: it is gone."""
    backend().renew(path)


def binds(path: str) -> list[tuple[str, str]]:
    """What a container sees below /sys/fs/cgroup: (name there, or "" for the whole; directory of the host)."""
    return backend().binds(path)


def links() -> list[tuple[str, str]]:
    """Symbolic links that belong beside the v1 controllers of `binds` (name, target)."""
    return backend().links()


def oom_kills(path: str) -> int:
    """How often the kernel killed a process here for want of memory."""
    return backend().oom_kills(path)


def limit_hits(path: str) -> int:
    """How often the memory limit could not be kept by reclaiming. A process killed for it between clone and execve is
    counted where its borrowed memory belongs, not here."""
    return backend().limit_hits(path)


def processes(path: str) -> list[int]:
    """The pids in this cgroup, in this process's pid namespace."""
    return backend().processes(path)


def freeze(path: str) -> None:
    """Freeze every process in it, and wait until they are. Raises OSError: it is gone, or they can't be frozen."""
    backend().freeze(path)


def thaw(path: str) -> None:
    """Let them go on."""
    backend().thaw(path)


def frozen(path: str) -> bool:
    """Whether it is frozen."""
    return backend().frozen(path)


def kill(path: str) -> None:
    """SIGKILL every process in it, a frozen one too."""
    backend().kill(path)


def exists(path: str) -> bool:
    """Whether there is such a cgroup, in any hierarchy."""
    return backend().exists(path)


def remove(path: str) -> None:
    """Remove the cgroup; one that is gone already is fine. Processes still inside are killed first. Raises OSError."""
    backend().remove(path)


def remove_parent(path: str) -> None:
    """Remove a cgroup that only held others, if it holds none any more; whoever needs it again makes it again."""
    backend().remove_parent(path)
