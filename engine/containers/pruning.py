"""`docker container prune`: what doesn't run goes."""

from __future__ import annotations

import asyncio
import logging

from dosirak.engine.containers import removal
from dosirak.engine.containers.room import Room
from dosirak.engine.content.disk import disk_use
from dosirak.engine.errors import EngineError
from dosirak.engine.state import Filters
from dosirak.engine.state.pruning import Pruned, choice

_log = logging.getLogger(__name__)


async def prune(room: Room, filters: Filters) -> Pruned:
    """See `Containers.prune`."""
    chosen = choice(filters)
    removed: list[str] = []
    reclaimed = 0
    with room.pruning.running():
        for live in list(room.table):
            record = live.record
            if record.state.running or not chosen.takes(int(record.created * 1e9), record.config.labels or {}):
                continue
            size = await asyncio.to_thread(disk_use, room.directory(record.id) / "upper")
            removing = removal.remove(room, live, record.id, force=False, volumes=False)
            try:
                # A client that goes away ends the prune between two containers, not in the middle of one.
                await asyncio.shield(room.operate(removing, f"prune {record.short_id}"))
            except EngineError as error:
                _log.info("container %s: not pruned: %s", record.short_id, error)  # it has been started meanwhile
                continue
            removed.append(record.id)
            reclaimed += size
    room.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
    return Pruned(removed, reclaimed)
