"""Start, the end of a run, restart: the transitions between created, running and exited."""

from __future__ import annotations

import asyncio
import logging

from dosirak.engine.containers import attaching, ipc, launching, removal, stopping
from dosirak.engine.containers.health import watch as health
from dosirak.engine.containers.limits import group, killing
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.restarts import policy
from dosirak.engine.containers.room import Room
from dosirak.engine.containers.sharing import modes
from dosirak.engine.errors import Conflict, EngineError, HostLimit, NotFound, NotModified, StartFailed, host_limit
from dosirak.engine.runtime import cgroups
from dosirak.engine.supervision.model import Exit
from dosirak.engine.supervision.task import Task

_log = logging.getLogger(__name__)
# Start


async def start(room: Room, live: Live, *, restarts: int = 0) -> None:
    """See `Containers.start`. Parameters: `restarts`: so many there were by its policy."""
    async with room.holding(live):
        _check_startable(live)
        await live.expected_come()
        live.record.restart_count = restarts
        try:
            with live.launching():
                task = await launching.launch(room, live)
        except (EngineError, OSError) as reason:
            error = reason if isinstance(reason, EngineError) else host_limit(live.record.short_id, reason)
            await _start_failed(room, live, error)
            raise error from reason
        took_over(room, live, task)
        state = live.record.state
        state.started_at, state.pid, state.error, state.exit_code = task.started_at, task.pid, "", 0
        state.oom_killed = False
        live.record.manually_stopped = False
        killing.watch(room, live)
        health.begin(room, live)
        room.save(live)
        room.tell_volumes(live, "mount")
        room.tell(live, "start")
        await attaching.flush(live)


def _check_startable(live: Live) -> None:
    state = live.record.state
    if state.paused:
        raise Conflict("cannot start a paused container, try unpause instead")
    if state.running:
        raise NotModified("container is already running")
    if state.removing or state.dead:
        raise Conflict("container is marked for removal and cannot be started")


def took_over(room: Room, live: Live, task: Task) -> None:
    """A process of the container runs, whether just started or found after a service's restart: look after it."""
    live.task = task
    live.record.state.running = True
    live.record.state.restarting = task.pid == 0
    task.on_detach = lambda: room.tell(live, "detach")
    task.on_exit = lambda end, again: _ended_once(room, live, end) if again else None
    task.on_restart = lambda: _restarted(room, live, task)
    room.supervise(_supervise(room, live, task), f"supervise {live.record.short_id}")


async def _start_failed(room: Room, live: Live, error: EngineError) -> None:
    state = live.record.state
    state.error = str(error)
    state.exit_code = error.exit_code if isinstance(error, StartFailed) else 128
    live.drop_attaches()
    room.save(live)
    if live.record.host_config.auto_remove:
        await removal.delete(room, live, volumes=True)


# The end of a run


async def _supervise(room: Room, live: Live, task: Task) -> None:
    end = await task.wait()
    if room.closing:
        return  # the next service finds exit.json
    async with live.lock:
        # Who removes it by force waits for this very end, and does the rest.
        auto_remove = live.record.host_config.auto_remove and not live.by_hand and not live.record.state.removing
        await ended(room, live, end, last=auto_remove)
        if auto_remove:
            try:
                await removal.delete(room, live, volumes=True)
            except EngineError as error:
                _log.warning("container %s: automatic removal: %s", live.record.short_id, error)
                live.not_removed(str(error))
    room.supervise(_after_monitor(room, live, task), f"sweep {live.record.short_id}")
    # Else its monitor has applied the policy.
    ours = end.lost or (modes.targets(live.record.host_config) and not end.error)
    if ours and not auto_remove and not live.by_hand and policy.wants_up(live.record, booted=False):
        room.supervise(_come_back(room, live), f"restart {live.record.short_id}")


async def _after_monitor(room: Room, live: Live, task: Task) -> None:
    """A monitor tells and notes the end before it removes the cgroup, and may be killed between the two."""
    await task.gone()
    async with live.lock:
        path = group.path_of(live.record)
        if live.task in (None, task) and cgroups.exists(path):  # else it is that of the next run
            await asyncio.to_thread(cgroups.remove, path)


async def _come_back(room: Room, live: Live) -> None:
    """Start a container again whose monitor would have done so, was it not killed, or whose namespaces are others'."""
    live.delay = policy.delay(live.record, live.delay)
    live.coming_back = True
    try:
        await asyncio.sleep(live.delay)
    finally:
        live.coming_back = False
    if not policy.wants_up(live.record, booted=False):
        return  # somebody has stopped it for good meanwhile
    try:
        await start(room, live, restarts=live.record.restart_count + 1)
    except (NotModified, NotFound):
        pass  # somebody else was faster
    except EngineError as error:
        _log.warning("container %s: restart policy: %s", live.record.short_id, error)


async def ended(room: Room, live: Live, end: Exit, *, last: bool = False) -> None:
    """Record the end of a container's run and give back what it held. Called with the lock held.

    Parameters: `last`: its record goes at once, so it is not written once more.
    """
    record, state = live.record, live.record.state
    live.task = None
    health.end(live)
    room.kills.catch_up(live)
    room.kills.forget(live)
    try:
        sandbox = room.networks.sandbox(record.id)
        await room.networks.disconnect(record.id)
        room.tell_network(live, "disconnect", sandbox)
        if record.host_config.ipc_mode == "shareable":
            ipc.release(room.directory(record.id))
        if end.lost:
            # Nobody has removed the cgroup.
            await asyncio.to_thread(cgroups.remove, group.path_of(record))
    except (EngineError, OSError) as error:
        _log.warning("container %s: cleaning up after its end: %s", record.short_id, error)
    state.running = state.paused = state.restarting = False
    state.pid = 0
    untold, state.oom_killed = end.oom and not state.oom_killed, end.oom or state.oom_killed
    state.exit_code, state.finished_at = end.code, end.at
    state.error = end.error
    if not last:
        room.save(live)
    room.tell_volumes(live, "unmount")
    _tell_end(room, live, end, oom=untold)
    live.stopped()


def _tell_end(room: Room, live: Live, end: Exit, *, oom: bool) -> None:
    if oom:
        room.tell(live, "oom")
    seconds = max(0, int(end.at - live.record.state.started_at))
    room.tell(live, "die", {"exitCode": str(end.code), "execDuration": str(seconds)})


def _ended_once(room: Room, live: Live, end: Exit) -> None:
    """The process has ended and the monitor will start it again after a while."""
    health.end(live)
    room.kills.catch_up(live)
    state = live.record.state
    state.restarting, state.paused, state.pid = True, False, 0
    untold, state.oom_killed = end.oom and not state.oom_killed, end.oom or state.oom_killed
    state.exit_code, state.finished_at = end.code, end.at
    live.record.restart_count = end.restarts + 1  # Docker counts when it decides
    room.save(live)
    _tell_end(room, live, end, oom=untold)


def _restarted(room: Room, live: Live, task: Task) -> None:
    state = live.record.state
    state.restarting = state.oom_killed = False
    state.pid, state.started_at, state.exit_code = task.pid, task.started_at, 0
    live.record.restart_count = task.restarts
    health.begin(room, live)
    room.save(live)
    room.tell(live, "start")


async def restart(room: Room, live: Live, ref: str, seconds: int | None, signal: str | None) -> None:
    """See `Containers.restart`."""
    try:
        await _restart(room, live, seconds, signal)
    except EngineError as error:
        raise HostLimit(f"Cannot restart container {ref}: {error}") from error
    room.tell(live, "restart")


async def _restart(room: Room, live: Live, seconds: int | None, signal: str | None) -> None:
    if live.record.state.running:
        live.by_hand = True
        try:
            await stopping.stop(room, live, seconds, signal)
        except NotModified:
            pass  # it ended by itself
        finally:
            live.by_hand = False
    try:
        await start(room, live)
    except NotModified:
        pass  # somebody else was faster
