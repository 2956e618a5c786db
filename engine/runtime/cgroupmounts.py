"""The container's own control groups below its /sys/fs/cgroup."""

from __future__ import annotations

import os

from dosirak.engine.runtime import cgroups, filesystems, places
from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.mountopts import MountOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _make_base() -> int:
    """On v1: a detached tmpfs with a directory for each hierarchy and the links beside them; -1 on v2."""
    binds = cgroups.binds("")
    if not all(name for name, _ in binds):
        return -1
    base = filesystems.create("tmpfs", MountOptions(["mode=755", "size=64k"]), "tmpfs")
    for name, _ in binds:
        os.mkdir(name, 0o755, dir_fd=base)
    for name, target in cgroups.links():
        os.symlink(target, name, dir_fd=base)
    return base


def get_ready(ready: filesystems.Ready, cgroup: str, entry: dict[str, Any]) -> None:
    """Make the mount that this entry asks for, of the cgroup that is ready. What it shows stays so when that gets its
    name. Raises OSError: before kernel 6.15 nothing can be mounted on what is detached itself."""
    options = MountOptions(entry["options"])
    base = _make_base()
    if base >= 0:
        binds = cgroups.binds(cgroup)
        _bind_groups(base, binds, options)
        ready.cgroups, ready.cgroup_options, ready.cgroup_count = base, options.set, len(binds)


def _bind_groups(base: int, binds: list[tuple[str, str]], options: MountOptions) -> None:
    """Each hierarchy's group on its directory."""
    bind = MountOptions([])
    bind.set = options.set
    for name, directory in binds:
        tree = places.clone_tree(directory, bind)
        sys.move_mount(tree, base, name)
        os.close(tree)
    sys.mount_setattr(base, set_=options.set)


def mount(
    destination: str,
    root_fd: int,
    options: MountOptions,
    cgroup: str | None,
    ready: filesystems.Ready,
    *,
    own: bool,
) -> None:
    """Bind the container's own group(s): the same view as a cgroup mount in a cgroup namespace, without the price of
    a superblock each (they cost again at teardown). Without a namespace of its `own` it sees all of v2, as in runc:
    /proc/self/cgroup names a path there."""
    if cgroup is None:
        return
    binds = cgroups.binds(cgroup if own or cgroups.version() == "1" else "")
    place = places.open_place(root_fd, destination, True)
    if binds and not binds[0][0]:  # version 2: the whole
        bind = MountOptions([])
        bind.set = options.set
        base = places.clone_tree(binds[0][1], bind)
        sys.move_mount(base, place)
    elif ready.cgroups >= 0 and ready.cgroup_options == options.set and ready.cgroup_count == len(binds):
        base = ready.cgroups
        sys.move_mount(base, place)
    else:
        base = _make_base()
        sys.move_mount(base, place)
        _bind_groups(base, binds, options)
    os.close(place)
    os.close(base)
