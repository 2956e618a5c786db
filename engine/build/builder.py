"""The room's door: a request in, events while it runs, an image at the end.

Light on purpose: the language and the solver take 70 ms to import and are imported by the first build, so that the
service is ready without them.
"""

from __future__ import annotations

import asyncio
import importlib
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dosirak.engine.build.cache import CacheKeeper, Room, StepCache, Usage
from dosirak.engine.build.inputs import Offers
from dosirak.engine.build.mounts.caches import CacheMounts
from dosirak.engine.content.placement import spread_below
from dosirak.engine.errors import HostLimit
from dosirak.engine.layers.removal import remove_tree
from dosirak.engine.layers.threads import outlast

if TYPE_CHECKING:
    from dosirak.engine.build.model import BuildRequest, ProgressSink
    from dosirak.engine.build.remote import Fetching
    from dosirak.engine.build.shared import Fetch, Shared
    from dosirak.engine.containers import Containers
    from dosirak.engine.images import Image, Images, RunConfig
    from dosirak.engine.layers import Layers
    from dosirak.engine.settings import Settings
    from dosirak.engine.state import Database, Filters
    from dosirak.engine.state.pruning import Pruned


class Builder:
    """Builds images from Dockerfiles. One for an engine; any number of builds at the same time.

    The service sets `fetch`, which pulls an image by its name, and `download`, which opens a URL; without them, images
    must be here, and ADD has no URLs.
    """

    fetch: Fetch | None
    download: Fetching | None

    def __init__(
        self, images: Images, layers: Layers, containers: Containers, database: Database, settings: Settings
    ) -> None:
        self.fetch = None
        self.download = None
        self._images = images
        self._layers = layers
        self._containers = containers
        self._cache = StepCache(database)
        self._place = settings.data / "build"
        self._mounts = CacheMounts(settings.data / "build-mounts")
        self._keeper = CacheKeeper(self._cache, self._mounts, images, containers, settings.data)
        self._memory = settings.run / "build"
        self.offers = Offers()
        self._running: set[str] = set()
        self._sweeping: asyncio.Future[None] | None = None
        images.keepers.append(self._cache.digests)
        images.apply_changes = _apply_changes

    async def start(self) -> None:
        """Begins to delete, in the background, what builds of an earlier service left half-made."""
        left = [self._memory, *self._mounts.unfinished()]
        left += self._place.iterdir() if self._place.is_dir() else []
        if left:
            self._sweeping = asyncio.ensure_future(asyncio.to_thread(_remove, left))

    @property
    def active(self) -> bool:
        """Whether a build is under way."""
        return bool(self._running)

    async def build(self, request: BuildRequest, progress: ProgressSink) -> Image:
        """Builds one image and tags it; `progress` hears of every step.

        Cancelling the task ends the build: its process is killed, finished steps stay cached, nothing else stays.
        Raises InvalidRequest or NotFound before the first event when the request, the Dockerfile or a base image is
        wrong; CommandFailed when a RUN step's command fails; EngineError otherwise. A failure after the first event
        is an event too.
        """
        await _load()
        from dosirak.engine.build.work import Places, build_image

        build = secrets.token_hex(16)
        place = self._place / build
        self._running.add(build)
        try:
            place.mkdir(mode=0o700, parents=True)
            spread_below(self._place)
            async with self._keeper.building():
                return await build_image(self._shared, build, Places(place, self._memory / build), request, progress)
        except OSError as error:
            raise HostLimit(f"build: {error.strerror or error}: {error.filename or ''}") from error
        finally:
            await outlast(asyncio.ensure_future(asyncio.to_thread(_remove, [place, self._memory / build])))
            self._running.discard(build)

    async def check(
        self, text: str, filename: str, args: Mapping[str, str | None], target: str, ignored: str
    ) -> Mapping[str, object]:
        """What the build checks say to a Dockerfile, as `/dosirak/build/check` tells it; nothing is built or fetched.

        Parameters: `filename` names it in errors; `args` are build arguments; `target` is a stage, "" for all of
        them; `ignored` is the text of the context's `.dockerignore`. Raises InvalidRequest for a pattern of that.
        """
        await _load()
        from dosirak.engine.build.checks import Setting
        from dosirak.engine.build.checks.asked import document, look
        from dosirak.engine.build.ignore import Ignore, read_patterns
        from dosirak.engine.build.work import host_platform

        patterns = read_patterns(ignored)
        Ignore(patterns)
        setting = Setting(host_platform(), args, target, ignored=tuple(patterns))
        return document(await look(self._images, text, filename, setting))

    async def usage(self) -> list[Usage]:
        """What the build cache holds."""
        return await self._keeper.usage()

    async def prune(self, filters: Filters, *, all: bool, room: Room = Room()) -> Pruned:
        """See `CacheKeeper.prune`."""
        return await self._keeper.prune(filters, all=all, room=room)

    async def close(self) -> None:
        """Waits for the layers still being packed in the background and records them."""
        if "_shared" in self.__dict__:
            await self._shared.settle()
        if self._sweeping is not None:
            await self._sweeping
        await self._keeper.close()

    @cached_property
    def _shared(self) -> Shared:
        from dosirak.engine.build.shared import Shared

        return Shared(
            self._images, self._layers, self._containers, self._cache, self._mounts, self.fetch, self.download
        )


async def _load() -> None:
    """Imports the language and the solver, in a thread when that is new."""
    if "dosirak.engine.build.work" not in sys.modules:
        await asyncio.to_thread(importlib.import_module, "dosirak.engine.build.work")


def _apply_changes(config: RunConfig, changes: Sequence[str]) -> RunConfig:
    from dosirak.engine.build.changes import apply_changes

    return apply_changes(config, changes)


def _remove(directories: list[Path]) -> None:
    for directory in directories:
        with suppress(OSError):  # what can't be removed now is tried again when the service starts
            remove_tree(directory)
