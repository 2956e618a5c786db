"""The `oom` event, at the moment when the kernel kills for want of memory.

Watched by the service, for containers with a memory limit only; with one epoll for all of them. What is missed while no
service runs, or without a limit of the container's own, its monitor tells with the end of the run.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Callable
from typing import TYPE_CHECKING

from dosirak.engine.containers.limits import group
from dosirak.engine.runtime.cgroups.outofmemory import Events

if TYPE_CHECKING:
    from dosirak.engine.containers.live import Live
    from dosirak.engine.containers.room import Room

_log = logging.getLogger(__name__)


def watch(room: Room, live: Live) -> None:
    """Have it told and recorded of this container from now on, if it has a limit."""

    def killed() -> None:
        live.record.state.oom_killed = True
        room.save(live)
        room.tell(live, "oom")

    room.kills.watch(live, killed)


class Kills:
    """Who is watched, by container id."""

    def __init__(self) -> None:
        self._poll: select.epoll | None = None  # until somebody has a limit
        self._watched: dict[str, tuple[Events, Callable[[], None]]] = {}
        self._by_fd: dict[int, str] = {}

    def watch(self, live: Live, killed: Callable[[], None]) -> None:
        """From now on call `killed` when it happens; at once if it has already and the record does not say so."""
        record = live.record
        if record.host_config.memory <= 0 or record.id in self._watched:
            return
        try:
            events = Events(group.path_of(record))
        except OSError as error:
            _log.info("container %s: no oom events: %s", record.short_id, error)
            return
        if self._poll is None:
            self._poll = select.epoll()
            asyncio.get_running_loop().add_reader(self._poll.fileno(), self._ready)
        self._poll.register(events.fd, events.mask)
        self._watched[record.id] = events, killed
        self._by_fd[events.fd] = record.id
        if events.kills and not record.state.oom_killed:
            events.happened()
            killed()

    def catch_up(self, live: Live) -> None:
        """Tell what has happened by now."""
        found = self._watched.get(live.record.id)
        if found is not None and found[0].happened():
            found[1]()

    def forget(self, live: Live) -> None:
        """It has ended."""
        found = self._watched.pop(live.record.id, None)
        if found is not None and self._poll is not None:
            self._poll.unregister(found[0].fd)
            del self._by_fd[found[0].fd]
            found[0].close()

    def close(self) -> None:
        """The service ends."""
        for events, _ in self._watched.values():
            events.close()
        self._watched.clear()
        if self._poll is not None:
            asyncio.get_running_loop().remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = None

    def _ready(self) -> None:
        assert self._poll is not None
        for fd, _ in self._poll.poll(0):
            events, killed = self._watched[self._by_fd[fd]]
            if events.happened():
                killed()
