"""`update`: other limits, or another restart policy, for a container that is there."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from dosirak.engine.containers.documents import UpdateRequest
from dosirak.engine.containers.limits import changes, checks, group, killing
from dosirak.engine.containers.limits.facts import HostFacts
from dosirak.engine.containers.restarts import checks as restarts
from dosirak.engine.containers.sharing import modes
from dosirak.engine.errors import EngineError, HostLimit
from dosirak.engine.runtime import cgroups
from dosirak.engine.supervision.model import Restart

if TYPE_CHECKING:
    from dosirak.engine.containers.documents import HostConfig
    from dosirak.engine.containers.live import Live
    from dosirak.engine.containers.model import Container
    from dosirak.engine.containers.room import Room

_log = logging.getLogger(__name__)


class Limits:
    """The containers' limits."""

    def __init__(self, room: Room) -> None:
        self._room = room

    @property
    def host(self) -> HostFacts:
        """What this host can limit."""
        return self._room.facts.limits

    async def update(self, ref: str, request: UpdateRequest) -> list[str]:
        """Change what `request` names, at once for a container that runs, and for good.

        Returns warnings. Raises InvalidRequest, NotFound, Conflict, HostLimit ("Cannot update container ID: …"); then
        nothing is changed.
        """
        warnings = checks.check(request, self.host, update=True)
        restarts.check(request.restart_policy)
        live = self._room.table.find(ref)
        warnings += changes.discarded(request)
        await asyncio.shield(self._room.operate(self._update(live, request), f"update {live.record.short_id}"))
        return warnings

    async def _update(self, live: Live, request: UpdateRequest) -> None:
        room, record = self._room, live.record
        async with room.holding(live):
            try:
                if record.state.removing or record.state.dead:
                    raise HostLimit('container is marked for removal and cannot be "update"')
                before, after = record.host_config, changes.apply(record.host_config, request, request.restart_policy)
                await self._apply(live, before, after)
                record.host_config = after
                try:
                    room.table.save(live)
                except EngineError:
                    record.host_config = before
                    await self._apply(live, after, before)
                    raise
            except EngineError as error:
                raise _cannot(record, error) from error
            joins = modes.targets(record.host_config)  # then `lifecycle` applies it
            if request.restart_policy.name and live.task is not None and not joins:
                policy = request.restart_policy
                live.task.set_restart(Restart(policy.name, policy.maximum_retry_count))
            if live.task is not None:
                killing.watch(room, live)
            room.tell(live, "update")

    async def _apply(self, live: Live, before: HostConfig, after: HostConfig) -> None:
        """Bring the cgroup, if there is one, from one configuration to the other. Raises HostLimit; then it is back."""
        wanted = changes.resources(before, after)
        if live.task is None or not wanted:
            return
        path = group.path_of(live.record)
        try:
            await asyncio.to_thread(cgroups.update, path, wanted)
        except FileNotFoundError:
            return  # it has just ended
        except OSError as error:
            await asyncio.to_thread(_undo, path, changes.resources(after, before))
            raise HostLimit(_reason(error, wanted)) from error


def _undo(path: str, resources: dict[str, Any]) -> None:
    try:
        cgroups.update(path, resources)
    except OSError as error:
        _log.warning("%s: a failed update can't be undone: %s", path, error)


def _reason(error: OSError, wanted: dict[str, Any]) -> str:
    limit = (wanted.get("memory") or {}).get("limit")
    if os.path.basename(str(error.filename or "")) == "memory.limit_in_bytes" and limit:  # noqa: PTH119
        return f"unable to set memory limit to {limit}: the container uses more, and the kernel can't take it back"
    return f"{error.filename}: {error.strerror}".lower() if error.filename else str(error.strerror).lower()


def _cannot(record: Container, error: EngineError) -> EngineError:
    return type(error)(f"Cannot update container {record.id}: {error}")
