"""`pause` and `unpause`: the container's cgroup is frozen and thawed."""

from __future__ import annotations

import asyncio
import errno
import os

from dosirak.engine.containers.health import watch as health
from dosirak.engine.containers.limits import group
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import Conflict, HostLimit
from dosirak.engine.runtime import cgroups

# For a process to act on a signal that came while it was being frozen.
_MOMENT = 0.01


async def pause(room: Room, live: Live) -> None:
    """See `Containers.pause`."""
    record, state = live.record, live.record.state
    async with room.holding(live):
        _check_running(live)
        if state.paused:
            raise Conflict(f"container {record.id} is already paused")
        if state.restarting:
            raise Conflict(f"Container {record.id} is restarting, wait until the container is running")
        try:
            await _freeze(live)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):  # its cgroup goes, or goes under our hands
                raise _not_running(live) from None
            reason = os.strerror(error.errno or 0).lower()
            raise HostLimit(f"cannot pause container {record.id}: {error.strerror or reason}") from error
        state.paused = True
        health.update(room, live)
        room.save(live)
        room.tell(live, "pause")


async def _freeze(live: Live) -> None:
    """Freeze it; a signal sent meanwhile is not left lying there. Raises OSError, Conflict when it has ended of one."""
    path = group.path_of(live.record)
    while True:
        sent = live.signals
        await asyncio.to_thread(cgroups.freeze, path)
        if live.signals == sent:
            return
        await asyncio.to_thread(cgroups.thaw, path)
        await asyncio.sleep(_MOMENT)
        _check_running(live)


def _check_running(live: Live) -> None:
    if not live.record.state.running or live.task is None or live.task.exited:
        raise _not_running(live)


def _not_running(live: Live) -> Conflict:
    return Conflict(f"container {live.record.id} is not running")


async def unpause(room: Room, live: Live) -> None:
    """See `Containers.unpause`."""
    async with room.holding(live):
        if not live.record.state.paused:
            raise HostLimit(f"Container {live.record.id} is not paused")
        await go_on(room, live)


async def go_on(room: Room, live: Live) -> None:
    """Let a paused container go on. Without the lock: a stop thaws what it has sent its signal to."""
    await asyncio.to_thread(cgroups.thaw, group.path_of(live.record))
    if not live.record.state.paused:
        return  # it has ended, or somebody else was faster
    live.record.state.paused = False
    health.update(room, live)
    room.save(live)
    room.tell(live, "unpause")
