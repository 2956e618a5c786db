"""On the service's start: take over what runs, record what ended meanwhile, sweep what no record names."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from functools import partial

import msgspec

from dosirak.engine.containers import ipc, lifecycle, removal
from dosirak.engine.containers.health import watch as health
from dosirak.engine.containers.limits import group, killing
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.model import Container, State
from dosirak.engine.containers.restarts import boot, policy
from dosirak.engine.containers.room import Room
from dosirak.engine.containers.sharing import modes
from dosirak.engine.errors import EngineError
from dosirak.engine.runtime import cgroups
from dosirak.engine.supervision.model import Exit, Known
from dosirak.engine.supervision.task import Task

_log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
# Docker's exit code for a container that ran when the machine went down.
_LOST = 255


async def adopt_all(room: Room) -> list[Live]:
    """See `Containers.adopt_all`. Returns the containers that are down and whose policy wants them up again."""
    booted = boot.changed(room.settings.data)
    found = await asyncio.gather(
        *(room.launcher.adopt(room.directory(live.record.id), partial(_known, live)) for live in room.table)
    )
    ended = [live.record for live, state in zip(room.table, found, strict=True) if not isinstance(state, Task)]
    await asyncio.to_thread(_remove_cgroups, ended)
    lost = []
    for live, state in zip(list(room.table), found, strict=True):
        live.record.state.removing = False
        if isinstance(state, Task):
            _adopt(room, live, state)
        elif live.record.state.running:
            if state is None or modes.targets(live.record.host_config):
                lost.append(live)
            await _record_end(room, live, state or Exit(_LOST, False, time.time(), lost=True))
        elif state is not None and state.at != live.record.state.finished_at:
            # The service went down between the launch and its record. Not "later than": clocks are set back, too.
            live.record.state.started_at = live.record.state.started_at or state.at
            await _record_end(room, live, state)
    await asyncio.gather(*(_keep_damaged(room, container_id) for container_id in room.table.damaged))
    await sweep(room)
    down = [live for live in room.table if not live.record.state.running] if booted else lost
    return [live for live in down if live.record.id in room.table and policy.wants_up(live.record, booted=booted)]


def _adopt(room: Room, live: Live, task: Task) -> None:
    record = live.record
    before = msgspec.structs.replace(record.state)
    if task.pid:
        if not record.state.running:
            # The service went down between the launch and its record.
            record.state = State()
            record.manually_stopped = False
        record.state.pid, record.state.started_at = task.pid, task.started_at
    else:
        # Between two runs: what the monitor knows is when the last one ended.
        record.state.finished_at = task.started_at
    record.restart_count = task.restarts if task.pid else task.restarts + 1  # as `lifecycle` counts
    record.state.paused = cgroups.frozen(group.path_of(record))
    lifecycle.took_over(room, live, task)
    killing.watch(room, live)
    if task.pid:
        health.resume(room, live)
    if record.state != before:
        room.save(live)


async def _keep_damaged(room: Room, container_id: str) -> None:
    """A container whose record can't be read, and which runs, keeps its network until it ends or is removed."""
    found = await room.launcher.adopt(room.directory(container_id))
    if isinstance(found, Task) and (found.pid or found.network_fd >= 0):
        room.table.running_damaged[container_id] = found
        room.supervise(_await_damaged(room, container_id, found), f"supervise {container_id[:12]}")


async def _await_damaged(room: Room, container_id: str, task: Task) -> None:
    await task.wait()
    room.table.running_damaged.pop(container_id, None)
    await room.networks.disconnect(container_id)


def _known(live: Live) -> Known:
    """What the record says, as far as the kernel confirms it: the number may be another process's by now."""
    record, state = live.record, live.record.state
    _log.warning(
        "container %s: its monitor does not answer (is it stopped?); taken over by its record", record.short_id
    )
    if state.running and state.pid:
        try:
            pidfd = os.pidfd_open(state.pid)
        except OSError:
            pidfd = -1
        if state.pid in group.processes(record, state.pid) and pidfd >= 0:
            return Known(state.pid, pidfd, state.started_at, record.restart_count)
        if pidfd >= 0:
            os.close(pidfd)
    return Known(0, -1, state.finished_at, record.restart_count)


def _remove_cgroups(records: list[Container]) -> None:
    """Of containers that do not run: left by a killed monitor, perhaps with processes (`--pid host`) inside."""
    for record in records:
        try:
            cgroups.remove(group.path_of(record))
        except OSError as error:
            _log.warning("container %s: its cgroup can't be removed: %s", record.short_id, error)


async def _record_end(room: Room, live: Live, end: Exit) -> None:
    async with live.lock:
        await lifecycle.ended(room, live, end)
        if live.record.host_config.auto_remove:
            await removal.delete(room, live, volumes=True)


def network_namespaces(room: Room) -> dict[str, int | str]:
    """See `Containers.network_namespaces`."""
    tasks = {live.record.id: live.task for live in room.table if live.task is not None} | room.table.running_damaged
    return {
        container_id: f"/proc/self/fd/{task.network_fd}" if task.network_fd >= 0 else task.pid
        for container_id, task in tasks.items()
    }


async def resume(room: Room, wanted: list[Live]) -> None:
    """Start what is down and should be up; those that join another's namespaces after it."""
    tasks = [live.task for live in room.table if live.task is not None]
    for task in (*tasks, *room.table.running_damaged.values()):
        if task.network_fd >= 0:
            os.close(task.network_fd)  # the networks room has its own by now
            task.network_fd = -1
    for live in sorted(wanted, key=lambda live: _depth(room, live)):
        try:
            await lifecycle.start(room, live)
        except EngineError as error:
            _log.warning("container %s: restart policy: %s", live.record.short_id, error)
    boot.note(room.settings.data)


def _depth(room: Room, live: Live) -> int:
    """How many containers have to be up before this one."""
    depth, seen = 0, {live.record.id}
    while others := [
        mode for mode in modes.targets(live.record.host_config) if mode in room.table and mode not in seen
    ]:
        seen.add(others[0])
        live, depth = room.table.find(others[0]), depth + 1
    return depth


async def sweep(room: Room) -> None:
    """Crashed halves: directories of containers and build steps that no record names, with what still runs in them."""
    root = room.bundles.root
    for directory in await asyncio.to_thread(lambda: list(root.iterdir())):
        name = directory.name
        if name in room.table or name in room.table.damaged or name in room.steps or not _ID.fullmatch(name):
            continue
        await asyncio.to_thread(cgroups.remove, f"{cgroups.parent()}/{name}")
        ipc.release(directory)
        room.bundles.discard(name)
    await room.volumes.sweep()
