"""Signals: kill and stop. No lock is held here: a kill must get through while a stop waits."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from pathlib import Path

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
# Seconds in which a program may not yet have come to its signal handlers.
_YOUNG = 1.0


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
        early = time.time() - live.record.state.started_at < _YOUNG and not _catches(live, number)
        await send(room, live, number)
        try:
            async with asyncio.timeout(seconds if seconds >= 0 else None):
                if early:
                    await _send_again(live, number, waiter)
                await asyncio.shield(waiter)
        except TimeoutError:
            if not waiter.done():  # else it ended at the very moment; by now it may even run anew
                await kill_running(room, live)
    finally:
        waiter.cancel()
    room.tell(live, "stop")


async def _send_again(live: Live, number: int, waiter: asyncio.Future[WaitResult]) -> None:
    """A stop right after the start finds a program that has not come to its handler, and the kernel drops a signal that
    process 1 has none for (pid_namespaces(7)): it gets it again when it has."""
    ends = time.monotonic() + _YOUNG
    while time.monotonic() < ends:
        await asyncio.wait([waiter], timeout=0.01)
        if waiter.done() or live.task is None or live.record.state.paused:
            return
        if _catches(live, number):
            with contextlib.suppress(ProcessLookupError):
                live.task.kill(number)
            return


def _catches(live: Live, number: int) -> bool:
    """Whether the container's process has a handler for a signal (proc_pid_status(5), SigCgt)."""
    try:
        status = Path(f"/proc/{live.record.state.pid}/status").read_bytes()
    except OSError:
        return True  # it ends
    found = re.search(rb"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is None or bool(int(found[1], 16) >> (number - 1) & 1)
