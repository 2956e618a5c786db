"""What all builds of an engine share: the neighbouring rooms, the cache, and the work in the background."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dosirak.engine.build.cache import Record, StepCache
from dosirak.engine.build.digests import Digests
from dosirak.engine.build.mounts.caches import CacheMounts
from dosirak.engine.build.remote import Fetching
from dosirak.engine.layers import LayerInfo

if TYPE_CHECKING:
    from dosirak.engine.containers import Containers
    from dosirak.engine.images import Images
    from dosirak.engine.layers import Layers, Pending
    from dosirak.engine.registry import Credentials


Fetch = Callable[[str, "Mapping[str, Credentials]"], Awaitable[None]]
"""Pulls the image of a name, with credentials by registry. Raises EngineError in Docker's words."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A layer that is in the store."""

    path: Path
    info: LayerInfo

    async def diff(self) -> LayerInfo:
        """What the store has."""
        return self.info


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step led to: a state, a layer (None: nothing changed), the time (unix, nanoseconds)."""

    state: str
    layer: Ready | Pending | None
    created_ns: int
    cached: bool = False


@dataclass(slots=True)
class Shared:
    """The engine's rooms as builds use them, and the builds' own memory.

    `mounts`: the caches of RUN --mount. `fetch`: pulls an image, `download`: opens a URL; None where there is nothing
    outside.
    """

    images: Images
    layers: Layers
    containers: Containers
    cache: StepCache
    mounts: CacheMounts
    fetch: Fetch | None = None
    download: Fetching | None = None
    digests: Digests = field(default_factory=Digests)
    _underway: dict[str, asyncio.Future[Outcome]] = field(default_factory=dict)
    _recording: set[asyncio.Task[None]] = field(default_factory=set)

    def find(self, keys: Iterable[str]) -> Outcome | None:
        """A finished step recorded under one of the keys, whose layer is there."""
        for key in keys:
            record = self.cache.get(key)
            if record is None:
                continue
            if record.layer is None:
                return Outcome(record.state, None, record.created_ns, cached=True)
            if self.layers.has(record.layer.diff_id):
                layer = Ready(self.layers.path(record.layer.diff_id), record.layer)
                return Outcome(record.state, layer, record.created_ns, cached=True)
            self.cache.forget(key)
        return None

    async def once(self, state: str, work: Callable[[], Awaitable[Ready | Pending | None]]) -> Outcome:
        """Does the work that leads to `state`, unless another build is doing it: then that one's outcome is awaited.

        A build that is cancelled or fails leaves the work to the next that waits for it.
        """
        while (underway := self._underway.get(state)) is not None:
            await asyncio.wait([underway])
            if not underway.cancelled() and underway.exception() is None:
                found = underway.result()
                return Outcome(found.state, found.layer, found.created_ns, cached=True)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._underway[state] = future
        try:
            outcome = Outcome(state, await work(), time.time_ns())
        except BaseException:
            del self._underway[state]
            future.cancel()
            raise
        future.set_result(outcome)  # and it stays until `record` has written it down
        return outcome

    def record(self, outcome: Outcome, keys: Sequence[str], description: str) -> asyncio.Task[None]:
        """Records a finished step under its keys once its layer is in the store; goes on if the build is cancelled."""
        task = asyncio.create_task(self._record(outcome, keys, description))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)
        return task

    async def _record(self, outcome: Outcome, keys: Sequence[str], description: str) -> None:
        try:
            info = None if outcome.layer is None else await outcome.layer.diff()
            self.cache.put(keys, Record(outcome.state, info, outcome.created_ns, description))
        finally:
            underway = self._underway.get(outcome.state)
            if underway is not None and underway.done():
                del self._underway[outcome.state]

    async def settle(self) -> None:
        """Waits until every finished step is recorded."""
        await asyncio.gather(*self._recording, return_exceptions=True)
