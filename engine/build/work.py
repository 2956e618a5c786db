"""One build from its request to its image: context, Dockerfile, plan, solution, commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dosirak.engine.build.cache import Record
from dosirak.engine.build.checks import Report, Setting, of_build
from dosirak.engine.build.config import Config
from dosirak.engine.build.context import BuildContext, open_context
from dosirak.engine.build.dockerfile import parse
from dosirak.engine.build.dockerfile.text import suggestion
from dosirak.engine.build.epoch import source_date
from dosirak.engine.build.errors import CommandFailed
from dosirak.engine.build.model import BuildRequest, ProgressSink
from dosirak.engine.build.plan import Plan, make_plan
from dosirak.engine.build.report import Reporter
from dosirak.engine.build.result import image_config, read_config
from dosirak.engine.build.scope import Platform
from dosirak.engine.build.shared import Shared
from dosirak.engine.build.solve import Root, Solver
from dosirak.engine.build.stages import SCRATCH, Stages
from dosirak.engine.build.states import digest
from dosirak.engine.errors import EngineError, InvalidRequest, NotFound
from dosirak.engine.images import Image, platforms
from dosirak.engine.images import parse as parse_reference
from dosirak.engine.layers.removal import remove_tree


@dataclass(frozen=True, slots=True)
class Places:
    """A build's own directories, deleted by the caller; `memory`, for what must be on no disk, is made when needed."""

    disk: Path
    memory: Path


async def build_image(
    shared: Shared, build: str, places: Places, request: BuildRequest, progress: ProgressSink
) -> Image:
    """See `Builder.build`."""
    tags = _tags(request.tags)
    source_date(request.args)  # a wrong one is said before anything is done
    context = await open_context(request, places.disk, shared.download)
    try:
        # in threads: a hostile Dockerfile may take its time, the loop has none
        stages = await asyncio.to_thread(_read_stages, context, request)
        return await _Build(shared, build, places, request, context, stages).run(tags, progress)
    finally:
        context.close()


def _read_stages(context: BuildContext, request: BuildRequest) -> Stages:
    file = parse(context.dockerfile, context.filename)
    return Stages(file, request.args, request.target, host_platform(), request.platform, request.inputs.contexts)


class _Build:
    def __init__(
        self, shared: Shared, build: str, places: Places, request: BuildRequest, context: BuildContext, stages: Stages
    ) -> None:
        self._shared = shared
        self._build = build
        self._places = places
        self._request = request
        self._contexts = {"": context.source, **context.named}
        self._ignored = context.ignored
        self._stages = stages
        self._images: dict[str, Image] = {}

    async def run(self, tags: Mapping[str, str], progress: ProgressSink) -> Image:
        """Builds; `tags` as `_tags` gives them."""
        await self._find_images()
        # what the build stands on stays, whatever is removed meanwhile
        with self._shared.images.hold(digest for image in self._images.values() for digest in _digests(image)):
            return await self._solve(tags, progress)

    async def _solve(self, tags: Mapping[str, str], progress: ProgressSink) -> Image:
        request = self._request
        plan, report = await asyncio.to_thread(self._plan)
        reporter = Reporter(self._build, plan, progress)
        try:
            for warning in plan.warnings:
                reporter.warning(0, warning)
            for finding in report.findings:
                reporter.warning(finding.lines.first, finding.message)
            if report.error is not None:
                raise report.error
            solver = Solver(
                self._shared,
                request,
                self._contexts,
                self._images,
                self._places.disk,
                self._places.memory,
                reporter,
                _fresh(plan, request),
            )
            root = await solver.solve(plan.result)
            image = await self._commit(plan, solver, root, list(tags))
        except EngineError as error:
            await self._clean()
            reporter.build_failed(error.message, error.code if isinstance(error, CommandFailed) else 0)
            raise
        await self._clean()
        reporter.build_finished(image.id, tuple(tags.values()))
        return image

    def _plan(self) -> tuple[Plan, Report]:
        """What is to be done, and what the build checks say to it."""
        request, configs = self._request, self._configs()
        plan = make_plan(self._stages, configs, request.labels, request.network)
        images = {name: image.config for name, image in self._images.items()}
        made_for = {name: Platform(image.os, image.architecture, image.variant) for name, image in images.items()}
        setting = Setting(host_platform(), request.args, request.target, configs, self._ignored, made_for)
        return plan, of_build(self._stages, self._stages.needed(configs)[0], setting)

    async def _clean(self) -> None:
        """When a client hears of the build's end, nothing of it is left."""
        with suppress(OSError):
            await asyncio.to_thread(remove_tree, self._places.disk)

    async def _find_images(self) -> None:
        """The images that the needed stages stand on or copy from, by the names they are called.

        An image's ONBUILD triggers may name further ones, hence the loop.
        """
        while True:
            _, missing = self._stages.needed(self._configs())
            if not missing:
                return
            for name in sorted(missing):
                self._images[name] = await self._find_image(name)

    async def _find_image(self, name: str) -> Image:
        images, fetch = self._shared.images, self._shared.fetch
        try:
            if self._request.pull and fetch is not None:
                await fetch(name, self._request.credentials)
            try:
                return await images.resolve(name)
            except NotFound:
                if fetch is None:
                    raise
                await fetch(name, self._request.credentials)
                return await images.resolve(name)
        except EngineError as error:
            stages = (stage.base.name for stage in self._stages.stages)
            here = (parse_reference(tag).familiar for image in images.list() for tag in image.names)
            known = {SCRATCH, *filter(None, stages), *(image.removesuffix(":latest") for image in here)}
            if not (hint := suggestion(name, known)):
                raise
            raise NotFound(f"{error.message}{hint}") from error

    def _configs(self) -> dict[str, Config]:
        return {name: read_config(image.config.config, image.config.author) for name, image in self._images.items()}

    async def _commit(self, plan: Plan, solver: Solver, root: Root, names: list[str]) -> Image:
        infos = [await layer.diff() for layer in root.layers]
        await solver.recorded()
        base = self._images.get(plan.base)
        config = image_config(
            plan.config,
            plan.history,
            solver.outcome,
            base.config if base else None,
            host_platform(),
            self._created(plan, root),
            fixed=source_date(self._request.args) is not None,
        )
        image = await self._shared.images.commit(config, infos, names)
        self._shared.cache.touch()
        return image

    def _created(self, plan: Plan, root: Root) -> int:
        """When this very image was first made: building it again from the cache gives the same image."""
        if (seconds := source_date(self._request.args)) is not None:
            return seconds * 10**9
        key = digest("image", root.state, plan.base, plan.config, tuple(entry.created_by for entry in plan.history))
        known = None if self._request.no_cache else self._shared.cache.get(key)
        if known is not None:
            return known.created_ns
        now = time.time_ns()
        self._shared.cache.put([key], Record(root.state, None, now))
        return now


def _fresh(plan: Plan, request: BuildRequest) -> frozenset[int]:
    """The ids of the vertices of the stages that the caller wants built anew."""
    stages = {name.lower() for name in request.no_cache_stages}
    return frozenset(id(step.vertex) for step in plan.steps if step.works and step.stage.lower() in stages)


def host_platform() -> Platform:
    """This machine, in Go's words."""
    return Platform("linux", platforms.host().architecture)


def _digests(image: Image) -> list[str]:
    return [image.id, image.manifest.digest, *image.diff_ids, *(layer.digest for layer in image.layers)]


def _tags(tags: tuple[str, ...]) -> dict[str, str]:
    """The names to give, full → as a person writes it, each once. Raises InvalidRequest."""
    names: dict[str, str] = {}
    for tag in tags:
        reference = parse_reference(tag)
        if reference.digest:
            raise InvalidRequest("build tag cannot contain a digest")
        names[str(reference.tagged())] = reference.tagged().familiar
    return names
