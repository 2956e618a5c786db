"""From a container's record to what a view of its files shows."""

from __future__ import annotations

import os
import posixpath

from dosirak.engine.containers import view as places
from dosirak.engine.containers.files.view import Plan, ViewMount
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.mounts import depth
from dosirak.engine.containers.room import Room
from dosirak.engine.containers.sharing import ids


def plan(room: Room, live: Live, *, mounts: bool = True, writable: bool = False) -> Plan:
    """The view of a container as it is now; to be used once, for it has a descriptor that `view.inside` closes.

    Parameters: `mounts`: with its volumes and binds; `writable`: to be written to (as far as the container may).
    """
    record, directory = live.record, room.directory(live.record.id)
    task = live.task
    running = task is not None and task.pidfd >= 0 and task.pid > 0
    shown = _mounts(room, record) if mounts else ()
    tmpfs = _tmpfs(record) if mounts and running else ()
    inner: tuple[str, ...] = ()
    if running and record.id_maps:
        # They are mapped, as the host's are not.
        inner = tuple(sorted([*(mount.destination for mount in shown), *tmpfs], key=depth))
        shown = tmpfs = ()
    return Plan(
        lower=tuple(record.layers),
        upper=f"{directory}/upper",
        work=f"{directory}/work",
        place=f"{directory}/rootfs",
        # A copy: the room closes its own as soon as the process ends.
        pidfd=os.dup(task.pidfd) if task is not None and running else -1,
        writable=writable,
        readonly=record.host_config.readonly_rootfs,
        mounts=shown,
        tmpfs=tmpfs,
        inner=inner,
        owner=(ids.outer(record.id_maps, 0), ids.outer(record.id_maps, 0)) if running else (0, 0),
    )


def _mounts(room: Room, record: Container) -> tuple[ViewMount, ...]:
    found = {
        entry.destination: ViewMount(
            entry.source, entry.destination, not entry.rw, entry.recursive, entry.flat_readonly
        )
        for entry in record.mount_plans
        if entry.type in ("bind", "volume")
    }
    if record.state.started_at:  # they are written when it starts
        own = places.paths(record, room.directory(record.id), room.directory)
        readonly = record.host_config.readonly_rootfs
        for name, source in (("hosts", own.hosts), ("hostname", own.hostname), ("resolv.conf", own.resolv_conf)):
            found.setdefault(f"/etc/{name}", ViewMount(str(source), f"/etc/{name}", readonly))
    hidden = set(tmpfs_places(record))
    chosen = (mount for mount in found.values() if mount.destination not in hidden)
    return tuple(sorted(chosen, key=lambda mount: depth(mount.destination)))


def _tmpfs(record: Container) -> tuple[str, ...]:
    return tuple(sorted(tmpfs_places(record), key=depth))


def tmpfs_places(record: Container) -> list[str]:
    """Where the container has, or will have, a tmpfs of its user's asking."""
    asked = [posixpath.normpath(path) for path in record.host_config.tmpfs or ()]
    return asked + [entry.destination for entry in record.mount_plans if entry.type == "tmpfs"]
