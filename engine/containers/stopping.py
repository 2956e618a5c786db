"""Signals: kill and stop. No lock is held here: a kill must get through while a stop waits."""

from __future__ import annotations

import asyncio

from dosirak.engine.containers import pausing, signals
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.model import WaitResult
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import Conflict, HostLimit, NotModified

_STOP_SECONDS = 10
_SIGKILL = 9
# How long a SIGKILLed process may take before we say that it did not work (a process in the kernel can't be killed).
_KILL_SECONDS = 10
_LOOK_SECONDS = 0.2


async def kill(room: Room, live: Live, number: int) -> None:
    """See `Containers.kill`."""
    if not live.record.state.running:
        raise Conflict(f"container {live.record.id} is not running")
    if number == _SIGKILL:
        await kill_running(room, live)
    else:
        await send(room, live, number)


async def kill_running(room: Room, live: Live) -> None:
    """SIGKILL, and wait for the end. Raises HostLimit if it does not come."""
    waiter = live.wait_stop()
    try:
        await send(room, live, _SIGKILL)
        await _wait_killed(room, live, waiter)
    finally:
        waiter.cancel()


async def send(room: Room, live: Live, number: int) -> None:
    """Send a signal. One that is meant to end the container also ends its restarting: SIGKILL, its stop signal, and any
    signal where it names none; a paused one goes on to meet it (moby: daemon/kill.go, killWithSignal)."""
    task = live.task
    if task is None:
        return  # it ends just now
    own = live.record.config.stop_signal
    final = not own or number in (_SIGKILL, signals.parse(own))
    if final:
        live.record.manually_stopped = True
        await task.stop_restarting()
    live.signals += 1
    try:
        task.kill(number)
    except ProcessLookupError:
        pass  # its end is on the way
    room.tell(live, "kill", {"signal": str(number)})
    if final and live.record.state.paused:
        await pausing.go_on(room, live)


async def _wait_killed(room: Room, live: Live, waiter: asyncio.Future[WaitResult]) -> None:
    try:
        async with asyncio.timeout(_KILL_SECONDS):
            while not waiter.done():
                await asyncio.wait([waiter], timeout=_LOOK_SECONDS)
                if live.record.state.paused and not waiter.done():
                    # Frozen at the very moment: it would not die of the signal until it is thawed.
                    await pausing.go_on(room, live)
    except TimeoutError:
        raise HostLimit(
            f"container {live.record.id}: tried to kill container, but did not receive an exit event"
        ) from None


async def stop(room: Room, live: Live, seconds: int | None, signal: str | None) -> None:
    """See `Containers.stop`."""
    record = live.record
    number = signals.parse(signal or record.config.stop_signal or "SIGTERM")
    if not record.state.running:
        record.manually_stopped |= live.coming_back
        raise NotModified("container is already stopped")
    if seconds is None:
        seconds = record.config.stop_timeout if record.config.stop_timeout is not None else _STOP_SECONDS
    await stop_running(room, live, seconds, number)


async def stop_running(room: Room, live: Live, seconds: int, number: int) -> None:
    """Signal, wait, SIGKILL, wait. `seconds` below zero: wait for ever."""
    live.record.manually_stopped = True
    waiter = live.wait_stop()
    try:
        if live.task is not None:
            await live.task.stop_restarting()
        await send(room, live, number)
        try:
            async with asyncio.timeout(seconds if seconds >= 0 else None):
                await asyncio.shield(waiter)
        except TimeoutError:
            if not waiter.done():  # else it ended at the very moment; by now it may even run anew
                await kill_running(room, live)
    finally:
        waiter.cancel()
    room.tell(live, "stop")
