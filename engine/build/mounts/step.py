"""`RUN --mount` and script documents: what a step finds mounted, as the mounts of its OCI config.json.

A bind mount is a copy of the files it names, made for the step: nothing a step does reaches the context or another
stage, and no path of either is walked by name while it runs (CVE-2024-23651). A cache is a directory that stays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dosirak.engine.build.commands import SCRIPTS
from dosirak.engine.build.copying import wording
from dosirak.engine.build.digests import Digests
from dosirak.engine.build.dockerfile.mounts import Mount
from dosirak.engine.build.entries import Source
from dosirak.engine.build.files import Selection, select
from dosirak.engine.build.graph import Context, Execute, Vertex
from dosirak.engine.build.ignore import Ignore
from dosirak.engine.build.inputs import Inputs
from dosirak.engine.build.mounts import agent, secrets
from dosirak.engine.build.mounts.caches import CacheMounts
from dosirak.engine.build.threads import Stop, in_thread
from dosirak.engine.build.trees import copy_tree
from dosirak.engine.build.workspace import merged_view, opened
from dosirak.engine.build.writing import Rules, Writer
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.layers.removal import remove_tree

Document = dict[str, Any]
"""One mount of an OCI config.json."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a step's mounts are made: `disk` is the step's own directory, `memory` one of the build's that is in
    memory; `caches` stay."""

    disk: Path
    memory: Path
    caches: CacheMounts


@dataclass(frozen=True, slots=True)
class Entered:
    """What a step gets: `documents`, and `variables` ("NAME=value") that are written nowhere."""

    documents: tuple[Document, ...]
    variables: tuple[str, ...]


class StepMounts:
    """The mounts of one RUN step.

    Parameters: `contexts` by name; `lowers` has the overlay layers of each source that is a file system, by the
    vertex's id.
    """

    def __init__(
        self,
        vertex: Execute,
        contexts: Mapping[str, Source],
        lowers: Mapping[int, Sequence[str]],
        digests: Digests,
        inputs: Inputs,
    ) -> None:
        self._vertex = vertex
        self._contexts = contexts
        self._lowers = lowers
        self._digests = digests
        self._inputs = inputs
        self._selections: dict[int, Selection] = {}

    @property
    def targets(self) -> list[str]:
        """Where things are mounted, apart from what every container has."""
        return [target for target in (self._target(index) for index in range(len(self._vertex.mounts))) if target]

    def _target(self, index: int) -> str:
        mount, _ = self._vertex.mounts[index]
        if mount.kind == "secret":
            return secrets.target(mount)
        if mount.kind == "ssh":
            return agent.target(mount, [other.kind for other, _ in self._vertex.mounts[:index]].count("ssh"))
        return mount.target

    async def checksums(self) -> tuple[str, ...]:
        """The content of the bind mounts that take files of the context: part of what the step is."""
        sums = []
        for index, (mount, source) in enumerate(self._vertex.mounts):
            if isinstance(source, Context):
                self._selections[index] = selection = await self._select(mount, self._contexts[source.name])
                sums.append(selection.checksum)
        return tuple(sums)

    async def enter(self, places: Places, stack: AsyncExitStack) -> Entered:
        """Makes what is mounted; it is there until `stack` is left. Raises NotFound, InvalidRequest, OSError."""
        documents: list[Document] = []
        variables: list[str] = []
        for index, (mount, source) in enumerate(self._vertex.mounts):
            if mount.kind == "tmpfs":
                documents.append(_tmpfs(mount))
            elif mount.kind == "cache":
                documents.append(await self._cache(index, places.caches, stack))
            elif mount.kind == "secret":
                self._secret(index, places.memory, stack, documents, variables)
            elif mount.kind == "ssh":
                await self._agent(index, places.memory, stack, documents, variables)
            elif source is not None:
                directory = places.disk / f"mount{index}"
                stack.push_async_callback(asyncio.to_thread, remove_tree, directory)
                copied = await self._copy(index, mount, source, directory)
                documents.append(_bind(copied, mount.target, mount.read_only))
        if self._vertex.script is not None:
            documents.append(_bind(_script(places.disk, self._vertex.script), SCRIPTS, read_only=True))
        return Entered(tuple(documents), tuple(variables))

    async def _cache(self, index: int, caches: CacheMounts, stack: AsyncExitStack) -> Document:
        mount, source = self._vertex.mounts[index]
        if source is None:
            return _bind(await caches.enter(mount, stack), mount.target, mount.read_only)
        with self._source(source) as origin:
            selection = await self._select(mount, origin)
            tree = selection.trees[0]
            if tree.top is not None:
                raise InvalidRequest(f"RUN --mount=type=cache: {mount.source}: not a directory")

            def fill(directory: Path, stop: Stop) -> None:
                with opened(directory) as root:
                    copy_tree(Writer(root, Rules(None), stop), origin, tree, "/")

            directory = await caches.enter(mount, stack, selection.checksum, fill)
        return _bind(directory, mount.target, mount.read_only)

    def _secret(
        self, index: int, place: Path, stack: AsyncExitStack, documents: list[Document], variables: list[str]
    ) -> None:
        mount, target = self._vertex.mounts[index][0], self._target(index)
        content = secrets.find(mount, self._inputs.secrets)
        if content is None:
            return
        if mount.env is not None:
            variables.append(secrets.variable(mount, content))
        if target:
            stack.callback(remove_tree, place)
            documents.append(_bind(secrets.write(place, index, mount, content), target, read_only=True))

    async def _agent(
        self, index: int, place: Path, stack: AsyncExitStack, documents: list[Document], variables: list[str]
    ) -> None:
        mount, target = self._vertex.mounts[index][0], self._target(index)
        path = agent.find(mount, self._inputs.agents)
        if path is None:
            return
        stack.callback(remove_tree, place)
        documents.append(_bind(await agent.forward(place, index, mount, path, stack), target, read_only=False))
        if not any(text.startswith(f"{agent.VARIABLE}=") for text in (*self._vertex.env, *variables)):
            variables.append(f"{agent.VARIABLE}={target}")

    async def _select(self, mount: Mount, source: Source) -> Selection:
        paths = [mount.source or "/"]
        with wording("RUN --mount"):
            return await in_thread(lambda stop: select(source, paths, self._digests, stop, excludes=Ignore()))

    async def _copy(self, index: int, mount: Mount, vertex: Vertex, directory: Path) -> Path:
        """The mount's files in a directory of the step's own; the path to mount: that directory, or the one file."""
        with self._source(vertex) as source:
            selection = self._selections.get(index) or await self._select(mount, source)
            tree = selection.trees[0]

            def work(stop: Stop) -> None:
                directory.mkdir(mode=0o755)
                with opened(directory) as root:
                    owner = (0, 0) if source.context else None
                    copy_tree(Writer(root, Rules(owner), stop), source, tree, "/")

            await in_thread(work)
        return directory if tree.top is None else directory / tree.name

    @contextmanager
    def _source(self, vertex: Vertex) -> Iterator[Source]:
        if isinstance(vertex, Context):
            yield self._contexts[vertex.name]
            return
        with merged_view(self._lowers[id(vertex)]) as root:
            yield Source(root)


def _bind(path: Path, target: str, read_only: bool) -> Document:
    access = "ro" if read_only else "rw"
    return {"destination": target, "type": "bind", "source": os.fspath(path), "options": ["rbind", "rprivate", access]}


def _tmpfs(mount: Mount) -> Document:
    options = ["nosuid", "mode=1777", *([f"size={mount.size}"] if mount.size else [])]
    return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}


def _script(place: Path, script: tuple[str, str]) -> Path:
    """A directory with the one file that the step executes."""
    name, content = script
    directory = place / "scripts"
    directory.mkdir(mode=0o755)
    file = directory / os.path.basename(name)  # noqa: PTH119 (a name with a slash must not lead anywhere)
    file.write_text(content, newline="")
    file.chmod(0o755)
    return directory
