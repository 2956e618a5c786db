"""When a container's health check runs: a timer between two probes, a task while one runs."""

from __future__ import annotations

import asyncio
import time

from dosirak.engine.containers.health import probe
from dosirak.engine.containers.health.model import STARTING, UNHEALTHY, Health
from dosirak.engine.containers.health.plan import Plan, judge, pause, plan
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.room import Room


class Watch:
    """The checks of one container that runs. `stop` ends them, a probe under way included."""

    def __init__(self, room: Room, live: Live, plan: Plan, health: Health) -> None:
        self._room, self._live, self._plan, self._health = room, live, plan, health
        self._timer: asyncio.TimerHandle | None = None
        self._probe: asyncio.Task[None] | None = None
        self._wait()

    def stop(self) -> None:
        """No further result counts."""
        if self._timer is not None:
            self._timer.cancel()
        if self._probe is not None:
            self._probe.cancel()

    def _wait(self) -> None:
        seconds = pause(self._plan, self._health, time.time() - self._live.record.state.started_at)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        name = f"health check {self._live.record.short_id}"
        self._probe = self._room.supervise(self._run(), name)

    async def _run(self) -> None:
        room, live = self._room, self._live
        result = await probe.run(room, live, self._plan)
        if live.watch is not self or room.closing:
            return
        self._probe = None
        if judge(self._plan, self._health, result, live.record.state.started_at):
            # Only then: the log alone is not worth a write at each probe.
            room.save(live)
            room.tell(live, f"health_status: {self._health.status}")
        self._wait()


def begin(room: Room, live: Live) -> None:
    """The container has been started, or has come up again by its policy."""
    if (wanted := plan(live.record.config)) is None:
        return
    end(live)
    health = live.record.state.health
    live.record.state.health = health = Health(STARTING, 0, health.log if health else [])
    live.watch = Watch(room, live, wanted, health)


def resume(room: Room, live: Live) -> None:
    """A new service has taken the running container over: what was known of it holds on."""
    if live.record.state.paused or (wanted := plan(live.record.config)) is None:
        return
    health = live.record.state.health
    if health is None:
        live.record.state.health = health = Health()
    live.watch = Watch(room, live, wanted, health)


def update(room: Room, live: Live) -> None:
    """The container has been paused, or goes on: a frozen one can't be asked, and Docker calls it unhealthy."""
    state = live.record.state
    if not state.running or state.paused:
        end(live)
    elif live.watch is None:
        resume(room, live)


def end(live: Live) -> None:
    """It runs no more; for Docker it is "unhealthy" then, without an event."""
    if live.watch is not None:
        live.watch.stop()
        live.watch = None
        if live.record.state.health is not None:
            live.record.state.health.status = UNHEALTHY
