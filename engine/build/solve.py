"""The graph solved: every vertex from the cache or by doing it, independent ones at the same time."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dosirak.engine.build import copying, epoch, states
from dosirak.engine.build.entries import Source
from dosirak.engine.build.errors import CommandFailed
from dosirak.engine.build.files import Selection
from dosirak.engine.build.graph import Base, Context, CopyFiles, Execute, MakeDirectory, Vertex, Work
from dosirak.engine.build.model import BuildRequest
from dosirak.engine.build.mounts.step import Places, StepMounts
from dosirak.engine.build.paths import shown
from dosirak.engine.build.remote import fetched
from dosirak.engine.build.report import Reporter
from dosirak.engine.build.running import run_command
from dosirak.engine.build.shared import Outcome, Ready, Shared
from dosirak.engine.build.threads import in_thread
from dosirak.engine.build.workspace import Workspace, merged_view
from dosirak.engine.errors import EngineError, HostLimit
from dosirak.engine.images import Image
from dosirak.engine.layers import Pending


@dataclass(frozen=True, slots=True)
class Root:
    """A vertex's file system: its state, its layers (the lowest first), what came of the step that made it.

    `fresh`: it was made whatever the cache has, and so is what stands on it.
    """

    state: str
    layers: tuple[Ready | Pending, ...]
    outcome: Outcome | None = None
    fresh: bool = False

    @property
    def lowers(self) -> list[str]:
        """The overlay's lower directories, the topmost first."""
        return [os.fspath(layer.path) for layer in reversed(self.layers)]


class Solver:
    """Solves one build's graph.

    Parameters: `contexts` by their names, "" for the one that has none; `images` by the names that Base vertices have;
    `place` is the build's own directory, `memory` one that is in memory, which is made when it is needed; `fresh` are
    the ids of vertices that are made whatever the cache has.
    """

    def __init__(
        self,
        shared: Shared,
        request: BuildRequest,
        contexts: Mapping[str, Source],
        images: Mapping[str, Image],
        place: Path,
        memory: Path,
        reporter: Reporter,
        fresh: Collection[int] = (),
    ) -> None:
        self._shared = shared
        self._request = request
        self._contexts = contexts
        self._images = images
        self._place = place
        self._memory = memory
        self._reporter = reporter
        self._fresh = fresh
        self._numbers = itertools.count(1)
        self._tasks: dict[int, asyncio.Task[Root]] = {}
        self._recording: list[asyncio.Task[None]] = []
        self._empty = place / "empty"
        self._failure: EngineError | None = None
        self._latest = epoch.source_date(request.args) if request.rewrite_timestamp else None

    async def solve(self, target: Vertex) -> Root:
        """The target's file system.

        When a step fails the others are cancelled: their processes are gone when this raises. Raises EngineError.
        """
        try:
            async with asyncio.TaskGroup() as self._group:
                task = self._start(target)
        except BaseExceptionGroup as group:
            raise _first(group) from None
        return task.result()

    def outcome(self, vertex: Vertex) -> Outcome | None:
        """What came of a vertex that was solved; None for an image's own file system."""
        return self._tasks[id(vertex)].result().outcome

    async def recorded(self) -> None:
        """Waits until the cache has every step of this build. Raises HostLimit when a layer could not be packed."""
        await asyncio.gather(*self._recording)

    def _start(self, vertex: Vertex) -> asyncio.Task[Root]:
        """The task that solves `vertex`, one for all who need it."""
        task = self._tasks.get(id(vertex))
        if task is None:
            task = self._tasks[id(vertex)] = self._group.create_task(self._solve(vertex))
        return task

    async def _solve(self, vertex: Vertex) -> Root:
        try:
            root = await self._root(vertex)
        except EngineError as error:
            if self._failure is None:  # all that stand on this vertex fail with it
                self._failure = error
                self._reporter.failed(vertex, error.message)
            raise
        self._reporter.finished(vertex, root.state)
        return root

    async def _root(self, vertex: Vertex) -> Root:
        match vertex:
            case Base():
                return await self._base(vertex)
            case Execute():
                return await self._execute(vertex)
            case CopyFiles():
                return await self._copy(vertex)
            case MakeDirectory():
                return await self._make_directory(vertex)
            case Context():
                raise AssertionError("the context is a source of files, not a file system")

    async def _base(self, vertex: Base) -> Root:
        self._reporter.started(vertex)
        if not vertex.image:
            return Root(states.base_state(()), ())
        image = self._images[vertex.image]
        lowers = await self._shared.images.lower_dirs(image)
        infos = await self._shared.images.layer_infos(image)
        layers = (Ready(Path(path), info) for path, info in zip(reversed(lowers), infos, strict=True))
        return Root(states.base_state(image.diff_ids), tuple(layers))

    async def _execute(self, vertex: Execute) -> Root:
        sources = [source for _, source in vertex.mounts if source is not None and not isinstance(source, Context)]
        parent, *mounted = await self._inputs(vertex.parent, *sources)
        self._reporter.started(vertex)
        lowers = {
            id(source): root.lowers or [self._empty_layer()] for source, root in zip(sources, mounted, strict=True)
        }
        fresh = any(root.fresh for root in mounted)
        mounts = StepMounts(vertex, self._contexts, lowers, self._shared.digests, self._request.inputs)
        with _host_errors():
            inputs = (*(root.state for root in mounted), *await mounts.checksums())
        state = self._named(states.run_state(vertex, parent.state, inputs, self._request.extra_hosts))

        async def work() -> Ready | Pending | None:
            workspace, shared = self._workspace(parent), self._shared
            with _host_errors():
                places = Places(workspace.place, self._memory / workspace.place.name, shared.mounts)
                code = await run_command(
                    shared.containers, vertex, workspace, mounts, places, self._request, self._reporter
                )
                if code:
                    raise CommandFailed(" ".join(vertex.argv), code)
                return await self._adopt(workspace)

        return await self._derived(vertex, parent, state, [state], work, fresh=fresh)

    async def _copy(self, vertex: CopyFiles) -> Root:
        if isinstance(vertex.source, Context):
            (parent,) = await self._inputs(vertex.parent)
            self._reporter.started(vertex)
            return (
                await self._add(vertex, parent)
                if vertex.urls
                else await self._copy_from(vertex, parent, self._contexts[vertex.source.name])
            )
        parent, source = await self._inputs(vertex.parent, vertex.source)
        self._reporter.started(vertex)
        shortcut = self._named(states.copy_shortcut(vertex, parent.state, source.state))
        fresh = source.fresh or parent.fresh or self._is_fresh(vertex)
        found = None if fresh else self._shared.find([shortcut])
        if found is not None:
            return self._done(vertex, parent, found, [])
        with merged_view(source.lowers or [self._empty_layer()]) as root:
            return await self._copy_from(vertex, parent, Source(root), shortcut)

    async def _add(self, vertex: CopyFiles, parent: Root) -> Root:
        """An ADD from URLs, fetched each time, unless it is said beforehand what they hold and that is here."""
        shortcut = self._named(states.fetch_shortcut(vertex, parent.state)) if vertex.checksum else ""
        fresh = parent.fresh or self._is_fresh(vertex)
        if shortcut and not fresh and (found := self._shared.find([shortcut])):
            return self._done(vertex, parent, found, [])
        async with AsyncExitStack() as stack:
            files = []
            for url in vertex.urls:
                place = self._place / str(next(self._numbers))
                with copying.wording(vertex.instruction), _host_errors():
                    file = fetched(url, vertex.checksum, place, self._shared.download, self._shared.digests)
                    files.append(await stack.enter_async_context(file))
            return await self._copy_from(vertex, parent, self._contexts[""], shortcut, files)

    async def _copy_from(
        self,
        vertex: CopyFiles,
        parent: Root,
        source: Source,
        shortcut: str = "",
        files: Sequence[tuple[Selection, Source]] = (),
    ) -> Root:
        with copying.wording(vertex.instruction), _host_errors():
            selection: Selection = await in_thread(
                lambda stop: copying.select_files(vertex, source, self._shared.digests, stop)
            )
        checksum = selection.checksum
        if files:
            checksum = states.fetched_checksum(checksum, (selected.checksum for selected, _ in files))
        state = self._named(states.copy_state(vertex, parent.state, checksum))

        async def work() -> Ready | Pending | None:
            workspace = self._workspace(parent)
            with copying.wording(vertex.instruction), _host_errors():
                await in_thread(lambda stop: copying.copy_files(vertex, selection, source, workspace, stop, files))
                return await self._adopt(workspace)

        return await self._derived(vertex, parent, state, [state, *filter(None, [shortcut])], work)

    async def _make_directory(self, vertex: MakeDirectory) -> Root:
        (parent,) = await self._inputs(vertex.parent)
        state = self._named(states.directory_state(vertex, parent.state))

        async def work() -> Ready | Pending | None:
            workspace = self._workspace(parent)
            with copying.wording("WORKDIR"), _host_errors():
                await in_thread(lambda stop: copying.make_directory(vertex, workspace, stop))
                return await self._adopt(workspace)

        return await self._derived(vertex, parent, state, [state], work)

    async def _inputs(self, *vertices: Vertex) -> list[Root]:
        """The file systems that a vertex stands on, solved at the same time."""
        tasks = [self._start(vertex) for vertex in vertices]
        return [await task for task in tasks]

    async def _derived(
        self,
        vertex: Work,
        parent: Root,
        state: str,
        keys: list[str],
        work: Callable[[], Awaitable[Ready | Pending | None]],
        *,
        fresh: bool = False,
    ) -> Root:
        """The parent with one more layer: from the cache, from another build at work on it, or by doing the work."""
        self._reporter.started(vertex)
        fresh = fresh or parent.fresh or self._is_fresh(vertex)
        if fresh:
            outcome = Outcome(state, await work(), time.time_ns())
        else:
            outcome = self._shared.find([state]) or await self._shared.once(state, work)
        return self._done(vertex, parent, outcome, keys, fresh=fresh)

    def _named(self, state: str) -> str:
        return state if self._latest is None else states.clamped(state, self._latest)

    def _is_fresh(self, vertex: Vertex) -> bool:
        return self._request.no_cache or id(vertex) in self._fresh

    def _done(
        self,
        vertex: Work,
        parent: Root,
        outcome: Outcome,
        keys: list[str],
        *,
        fresh: bool = False,
    ) -> Root:
        if outcome.cached:
            self._reporter.cached(vertex)
        if keys and not (outcome.cached and len(keys) == 1):
            self._recording.append(self._shared.record(outcome, keys, states.described(vertex)))
        layers = parent.layers if outcome.layer is None else (*parent.layers, outcome.layer)
        return Root(outcome.state, layers, outcome, fresh)

    async def _adopt(self, workspace: Workspace) -> Pending | None:
        """The step's upper directory as a layer, by rename; None when the step changed nothing."""
        if workspace.unchanged:
            return None
        if (latest := self._latest) is not None:
            await in_thread(lambda stop: epoch.clamp(workspace.upper, latest, stop))
        return self._shared.layers.adopt(workspace.upper)

    def _workspace(self, parent: Root) -> Workspace:
        return Workspace(self._place / str(next(self._numbers)), parent.lowers or [self._empty_layer()])

    def _empty_layer(self) -> str:
        """What lies under the first layer of an image from scratch: overlayfs wants something."""
        self._empty.mkdir(mode=0o755, exist_ok=True)
        return os.fspath(self._empty)


@contextmanager
def _host_errors() -> Iterator[None]:
    """What the host refused, as one clear line."""
    try:
        yield
    except OSError as error:
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        raise HostLimit(f"{error.strerror or error}{f': {shown(name)}' if name else ''}") from error


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that began it: others only waited for it."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
