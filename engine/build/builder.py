"""The room's door: a request in, events while it runs, an image at the end."""

from __future__ import annotations

import asyncio
import platform
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dosirak.engine.build.cache import Record, StepCache, digest
from dosirak.engine.build.config import Config
from dosirak.engine.build.context import BuildContext, open_context
from dosirak.engine.build.dockerfile import parse
from dosirak.engine.build.dockerfile.text import suggestion
from dosirak.engine.build.errors import CommandFailed
from dosirak.engine.build.model import BuildRequest, ProgressSink
from dosirak.engine.build.mounting import CacheMounts
from dosirak.engine.build.plan import Plan, make_plan
from dosirak.engine.build.report import Reporter
from dosirak.engine.build.result import image_config, read_config
from dosirak.engine.build.scope import Platform
from dosirak.engine.build.shared import Shared
from dosirak.engine.build.solve import Root, Solver
from dosirak.engine.build.stages import Stages
from dosirak.engine.errors import EngineError, HostLimit, InvalidRequest, NotFound
from dosirak.engine.images import Image
from dosirak.engine.images import parse as parse_reference
from dosirak.engine.layers.feed import outlast

if TYPE_CHECKING:
    from dosirak.engine.containers import Containers
    from dosirak.engine.images import Images
    from dosirak.engine.layers import Layers
    from dosirak.engine.settings import Settings
    from dosirak.engine.state import Database

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Builder:
    """Builds images from Dockerfiles. One for an engine; any number of builds at the same time."""

    def __init__(
        self, images: Images, layers: Layers, containers: Containers, database: Database, settings: Settings
    ) -> None:
        self._cache = StepCache(database)
        mounts = CacheMounts(settings.data / "build-mounts")
        self._shared = Shared(images, layers, containers, self._cache, settings.data / "build", mounts)
        self._running: set[str] = set()
        images.keepers.append(self._cache.digests)

    async def start(self) -> None:
        """Deletes what builds of an earlier service left half-made."""
        await asyncio.to_thread(_sweep, self._shared.place)

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
        tags = _tags(request.tags)
        build = secrets.token_hex(16)
        place = self._shared.place / build
        self._running.add(build)
        try:
            place.mkdir(mode=0o700, parents=True)
            context = await open_context(request, place)
            try:
                return await self._build(build, request, context, tags, place, progress)
            finally:
                context.close()
        except OSError as error:
            raise HostLimit(f"build: {error.strerror or error}: {error.filename or ''}") from error
        finally:
            await outlast(asyncio.ensure_future(asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)))
            self._running.discard(build)

    async def _build(
        self,
        build: str,
        request: BuildRequest,
        context: BuildContext,
        tags: Mapping[str, str],
        place: Path,
        progress: ProgressSink,
    ) -> Image:
        file = parse(context.dockerfile, context.filename)
        stages = Stages(file, request.args, request.target, host_platform())
        images = await self._base_images(stages)
        configs = {name: _config(image) for name, image in images.items()}
        plan = make_plan(stages, configs, request.labels, request.network)
        reporter = Reporter(build, plan, progress)
        try:
            for line, warning in plan.warnings:
                reporter.warning(line, warning)
            solver = Solver(self._shared, request, context.source, images, place, reporter)
            root = await solver.solve(plan.result)
            image = await self._commit(request, plan, solver, root, images.get(plan.base), list(tags))
        except EngineError as error:
            reporter.build_failed(error.message, error.code if isinstance(error, CommandFailed) else 0)
            raise
        reporter.build_finished(image.id, tuple(tags.values()))
        return image

    async def _base_images(self, stages: Stages) -> dict[str, Image]:
        """The images that the needed stages stand on or copy from, by the names they are called.

        An image's ONBUILD triggers may name further ones, hence the loop.
        """
        images: dict[str, Image] = {}
        while True:
            _, missing = stages.needed({name: _config(image) for name, image in images.items()})
            if not missing:
                return images
            for name in sorted(missing):
                images[name] = await self._base_image(name, stages)

    async def _base_image(self, name: str, stages: Stages) -> Image:
        try:
            return await self._shared.images.resolve(name)
        except NotFound as error:
            known = [stage.base.name for stage in stages.stages if stage.base.name]
            raise NotFound(
                f"pull access denied for {name}, repository does not exist or may require 'docker login'"
                f"{suggestion(name, known)}"
            ) from error

    async def _commit(
        self, request: BuildRequest, plan: Plan, solver: Solver, root: Root, base: Image | None, names: list[str]
    ) -> Image:
        infos = [await layer.diff() for layer in root.layers]
        await solver.recorded()
        created_ns = self._created(request, plan, root)
        config = image_config(
            plan.config, plan.history, solver.outcome, base.config if base else None, host_platform(), created_ns
        )
        image = await self._shared.images.commit(config, infos, names)
        self._cache.touch()
        return image

    def _created(self, request: BuildRequest, plan: Plan, root: Root) -> int:
        """When this very image was first made: building it again from the cache gives the same image."""
        key = digest("image", root.state, plan.base, plan.config, tuple(entry.created_by for entry in plan.history))
        known = None if request.no_cache else self._cache.get(key)
        if known is not None:
            return known.created_ns
        now = time.time_ns()
        self._cache.put([key], Record(root.state, None, now))
        return now

    async def close(self) -> None:
        """Waits for the layers still being packed in the background and records them."""
        await self._shared.settle()


def host_platform() -> Platform:
    """This machine, in Go's words."""
    machine = platform.machine()
    return Platform("linux", _ARCHITECTURES.get(machine, machine))


def _config(image: Image) -> Config:
    return read_config(image.config.config, image.config.author)


def _tags(tags: tuple[str, ...]) -> dict[str, str]:
    """The names to give, full → as a person writes it, each once. Raises InvalidRequest."""
    names: dict[str, str] = {}
    for tag in tags:
        reference = parse_reference(tag)
        if reference.digest:
            raise InvalidRequest("build tag cannot contain a digest")
        full = reference if reference.tag else parse_reference(f"{tag}:latest")
        names[str(full)] = full.familiar
    return names


def _sweep(place: Path) -> None:
    if place.is_dir():
        for entry in place.iterdir():
            shutil.rmtree(entry, ignore_errors=True)
