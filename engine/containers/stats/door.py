"""`stats`: one sample, or one a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from dosirak.engine.containers.limits import group
from dosirak.engine.containers.live import alive
from dosirak.engine.containers.stats import sampling
from dosirak.engine.containers.stats.model import Sample

if TYPE_CHECKING:
    from dosirak.engine.containers.live import Live
    from dosirak.engine.containers.room import Room

_INTERVAL = 1.0


class Stats:
    """What the containers use."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def sample(self, ref: str) -> Sample | None:
        """What it has used up to now; None when it doesn't run, or waits to be restarted. Raises NotFound."""
        return _sample(self._room, self._room.table.find(ref))

    async def follow(self, ref: str) -> AsyncGenerator[Sample | None, None]:
        """A sample now and every second, None while it doesn't run; ends when the container is removed.

        Raises NotFound with the first.
        """
        live = self._room.table.find(ref)
        removed = live.wait_removed()
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while not removed.done():
                yield _sample(self._room, live)
                # On the beat, unless it was missed altogether.
                due = max(due + _INTERVAL, loop.time())
                await asyncio.wait([removed], timeout=due - loop.time())
        finally:
            removed.cancel()


def _sample(room: Room, live: Live) -> Sample | None:
    """Not in a thread: a dozen small files take 0.3 ms, and a thread's hand-over on a busy machine as much again."""
    task, state, record = live.task, live.record.state, live.record
    if task is None or not state.running or state.restarting:
        return None
    network = record.host_config.network_mode != "host"
    try:
        if room.facts.limits.driver == "none":
            found = sampling.add(group.processes(record, task.pid), task.pid, network=network)
        else:
            found = sampling.take(group.path_of(record), task.pid, network=network)
    except OSError:
        return None  # it has just ended
    # Else the number may have been another process's by then, and the network another one.
    return found if live.task is task and not task.exited and alive(task.pidfd) else None
