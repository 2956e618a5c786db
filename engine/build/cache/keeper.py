"""The cache as a whole: what is in it, what a prune takes, how it keeps to its size."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dosirak.engine.build.cache import keeping
from dosirak.engine.build.cache.records import StepCache
from dosirak.engine.build.cache.usage import MOUNT, STEP, Room, Usage, choose, occupied
from dosirak.engine.errors import EngineError
from dosirak.engine.state.pruning import Pruned

if TYPE_CHECKING:
    from dosirak.engine.build.mounts.caches import CacheMounts
    from dosirak.engine.containers import Containers
    from dosirak.engine.images import Images
    from dosirak.engine.state import Filters

_log = logging.getLogger(__name__)
_AFTER = 2.0
"""Seconds after the last build at which the cache is looked at."""


class CacheKeeper:
    """Parameters: `mounts` are the caches of RUN --mount; `data` is where the engine keeps its things."""

    def __init__(
        self, cache: StepCache, mounts: CacheMounts, images: Images, containers: Containers, data: Path
    ) -> None:
        self._cache = cache
        self._mounts = mounts
        self._images = images
        self._containers = containers
        self._data = data
        self._builds = 0
        self._removing = asyncio.Lock()
        self._garbage = False
        self._trimming: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def building(self) -> AsyncIterator[None]:
        """Inside, nothing that a build has found or made is removed: no record names some of it yet."""
        async with self._removing:
            self._builds += 1
        try:
            yield
        finally:
            self._builds -= 1
            if not self._builds:
                self._cache.held.clear()
                self._trim_later()

    async def usage(self) -> list[Usage]:
        """What is there: a finished step each (several keys may lead to one), and the caches of RUN --mount."""
        folders = await asyncio.to_thread(self._mounts.folders)
        mounts = [
            Usage(one.path.name, MOUNT, "cached mount", one.size, False, one.in_use, one.created, one.used, one.uses)
            for one in folders
        ]
        return [*self._steps(), *mounts]

    def _steps(self) -> list[Usage]:
        in_images = {diff_id for image in self._images.list() for diff_id in image.diff_ids}
        found: dict[str, Usage] = {}
        for key, record, used in self._cache.entries():
            if record is None:
                continue
            layer, before = record.layer, found.get(record.state)
            row = Usage(
                record.state,
                STEP,
                record.description,
                layer.size if layer is not None else 0,
                layer is not None and layer.diff_id in in_images,
                key in self._cache.held,
                record.created_ns / 1e9,
                used,
                record.uses,
            )
            found[record.state] = row if before is None else _merged(before, row)
        return list(found.values())

    async def prune(self, filters: Filters, *, all: bool, room: Room) -> Pruned:
        """Forgets what finished steps led to and removes caches, but nothing that a build is using.

        Parameters: `all`: also what images stand on, which frees nothing; `room`: how much may stay. Returns the ids
        of what went, and bytes. Raises InvalidRequest for an unknown filter.
        """
        async with self._removing:
            free = await asyncio.to_thread(keeping.free, self._data)
            taken = choose(await self.usage(), filters, all=all, room=room, disk_free=free)
            return await self._take(taken)

    async def _take(self, taken: Sequence[Usage]) -> Pruned:
        states = {usage.id for usage in taken if usage.kind == STEP}
        known = {record.state for _, record, _ in self._cache.entries() if record is not None}
        sizes = {
            record.layer.diff_id: record.layer.size
            for _, record, _ in self._cache.entries()
            if record is not None and record.layer is not None and record.state in states
        }
        held = self._cache.held
        self._cache.forget_all(
            key
            for key, record, _ in self._cache.entries()
            if key not in held and (record is None or record.state in states)
        )
        reclaimed = await self._remove_mounts([usage.id for usage in taken if usage.kind == MOUNT])
        await self._collect()
        used = {diff_id for image in self._images.list() for diff_id in image.diff_ids}
        left = used.union(self._cache.digests(), self._containers.kept_layers())
        reclaimed += sum(size for diff_id, size in sizes.items() if diff_id not in left)
        gone = [usage.id for usage in taken if usage.kind == MOUNT or usage.id in known]
        return Pruned(gone, reclaimed)

    async def _remove_mounts(self, names: Collection[str]) -> int:
        """Removes caches by their directories' names; returns the bytes they had."""
        return sum([await asyncio.to_thread(self._mounts.remove, name) for name in names])

    async def _collect(self) -> None:
        """Deletes the layers that nothing needs; not while a build runs, whose layers nobody names yet."""
        self._garbage = self._builds > 0
        if not self._garbage:
            await self._images.collect()

    def _trim_later(self) -> None:
        if self._trimming is None or self._trimming.done():
            self._trimming = asyncio.create_task(self._trim_soon(), name="build cache")

    async def _trim_soon(self) -> None:
        await asyncio.sleep(_AFTER)
        try:
            await self.trim()
        except (EngineError, OSError) as error:
            _log.warning("build cache: %s", error)

    async def trim(self) -> Pruned:
        """Brings the cache down to its size (see `keeping.room`), unless a build runs: its end asks again.

        Raises InvalidRequest when dosirak.toml says something else than a size.
        """
        async with self._removing:
            if self._builds:
                return Pruned([])
            room = await asyncio.to_thread(keeping.room, self._data)
            found = await self.usage() if room is not None else []
            taken = [] if room is None else choose(found, {}, all=True, room=room, disk_free=0)
            if not taken and not self._garbage:
                return Pruned([])
            pruned = await self._take(taken)
            if taken:
                _log.info("build cache: %d bytes held, %d given back", occupied(found), pruned.reclaimed)
            return pruned

    async def close(self) -> None:
        """Ends what goes on in the background."""
        if self._trimming is not None:
            self._trimming.cancel()
            await asyncio.gather(self._trimming, return_exceptions=True)


def _merged(one: Usage, other: Usage) -> Usage:
    """A thing that two keys lead to. An image's own key has no layer and no description."""
    return Usage(
        one.id,
        one.kind,
        one.description or other.description,
        max(one.size, other.size),
        one.shared or other.shared,
        one.in_use or other.in_use,
        min(one.created, other.created),
        max(one.used, other.used),
        max(one.uses, other.uses),
    )
