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
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.model import State
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import EngineError
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.client import Task
from dosirak.engine.runtime.model import Exit, Known

_log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
# Docker's exit code for a container that ran when the machine went down.
_LOST = 255


async def adopt_all(room: Room) -> list[Live]:
    """See `Containers.adopt_all`. Returns the containers that a reboot ended and whose policy wants them up again."""
    found = await asyncio.gather(
        *(room.launcher.adopt(room.directory(live.record.id), partial(_known, live)) for live in room.table)
    )
    ended = [live.record.id for live, state in zip(room.table, found, strict=True) if not isinstance(state, Task)]
    await asyncio.to_thread(_remove_cgroups, ended)
    lost = []
    for live, state in zip(list(room.table), found, strict=True):
        live.record.state.removing = False
        if isinstance(state, Task):
            _adopt(room, live, state)
        elif live.record.state.running:
            if state is None:
                lost.append(live)
            await _record_end(room, live, state or Exit(_LOST, False, time.time()))
        elif state is not None and state.at != live.record.state.finished_at:
            # The service went down between the launch and its record. Not "later than": clocks are set back, too.
            live.record.state.started_at = live.record.state.started_at or state.at
            await _record_end(room, live, state)
    await sweep(room)
    return [live for live in lost if _wants_up(live)]


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
    record.restart_count = task.restarts
    lifecycle.took_over(room, live, task)
    if task.pid:
        health.resume(room, live)
    if record.state != before:
        room.table.save(live)


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
        if state.pid in cgroups.processes(f"dosirak/{record.id}") and pidfd >= 0:
            return Known(state.pid, pidfd, state.started_at, record.restart_count)
        if pidfd >= 0:
            os.close(pidfd)
    return Known(0, -1, state.finished_at, record.restart_count)


def _remove_cgroups(ids: list[str]) -> None:
    """Of containers that do not run: left by a killed monitor, perhaps with processes (`--pid host`) inside."""
    for container_id in ids:
        try:
            cgroups.remove(f"dosirak/{container_id}")
        except OSError as error:
            _log.warning("container %s: its cgroup can't be removed: %s", container_id[:12], error)


async def _record_end(room: Room, live: Live, end: Exit) -> None:
    async with live.lock:
        await lifecycle.ended(room, live, end)
        if live.record.host_config.auto_remove:
            await removal.delete(room, live, volumes=True)


def _wants_up(live: Live) -> bool:
    """A policy that restarts; what was stopped by hand stays down."""
    policy = live.record.host_config.restart_policy.name
    return not live.record.manually_stopped and policy in ("always", "unless-stopped", "on-failure")


async def resume(room: Room, lost: list[Live]) -> None:
    """Start again what a reboot ended."""
    for live in lost:
        try:
            await lifecycle.start(room, live)
        except EngineError as error:
            _log.warning("container %s: restart policy: %s", live.record.short_id, error)


async def sweep(room: Room) -> None:
    """Crashed halves: directories of containers and build steps that no record names, with what still runs in them."""
    root = room.bundles.root
    for directory in await asyncio.to_thread(lambda: list(root.iterdir())):
        name = directory.name
        if name in room.table or name in room.steps or not _ID.fullmatch(name):
            continue
        await asyncio.to_thread(cgroups.remove, f"dosirak/{name}")
        ipc.release(directory)
        room.bundles.discard(name)
    await room.volumes.sweep()
