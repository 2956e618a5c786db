"""`RUN --mount` and script documents: what a step finds mounted, as the mounts of its OCI config.json.

A bind mount is a copy of the files it names, made for the step: nothing a step does reaches the context or another
stage, and no path of either is walked by name while it runs (CVE-2024-23651). A cache is a directory that stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
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
from dosirak.engine.build.threads import Stop, in_thread
from dosirak.engine.build.trees import copy_tree
from dosirak.engine.build.workspace import merged_view, opened
from dosirak.engine.build.writing import Rules, Writer
from dosirak.engine.errors import NotSupported
from dosirak.engine.layers.removal import remove_tree
from dosirak.engine.runtime import owners

Document = dict[str, Any]
"""One mount of an OCI config.json."""


class CacheMounts:
    """The directories behind `--mount=type=cache`, one an id, below `place`; the locks of the locked ones."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._used: set[Path] = set()

    async def enter(self, mount: Mount, stack: AsyncExitStack) -> Path:
        """The directory of a cache mount, held as its sharing says until `stack` is left. Raises OSError."""
        name = hashlib.sha256((mount.id or mount.target).encode(errors="surrogatepass")).hexdigest()
        if mount.sharing == "locked":
            await stack.enter_async_context(self._locks[name])
        directory = self._place / name
        if mount.sharing == "private":
            # one that nobody else has at the moment: the first, the second…
            number = 1
            while directory in self._used:
                number += 1
                directory = self._place / f"{name}-{number}"
            self._used.add(directory)
            stack.callback(self._used.discard, directory)
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
            owners.give(os.fspath(directory), mount.uid or 0, mount.gid or 0)
            directory.chmod(0o755 if mount.mode is None else mount.mode)
        return directory


class StepMounts:
    """The mounts of one RUN step.

    Parameters: `lowers` has the overlay layers of each source that is a file system, by the vertex's id.
    """

    def __init__(self, vertex: Execute, context: Source, lowers: Mapping[int, Sequence[str]], digests: Digests) -> None:
        self._vertex = vertex
        self._context = context
        self._lowers = lowers
        self._digests = digests
        self._selections: dict[int, Selection] = {}

    @property
    def targets(self) -> list[str]:
        """Where things are mounted, apart from what every container has."""
        return [mount.target for mount, _ in self._vertex.mounts]

    async def checksums(self) -> tuple[str, ...]:
        """The content of the bind mounts that take files of the context: part of what the step is."""
        sums = []
        for index, (mount, source) in enumerate(self._vertex.mounts):
            if isinstance(source, Context):
                self._selections[index] = selection = await self._select(mount, self._context)
                sums.append(selection.checksum)
        return tuple(sums)

    async def enter(self, place: Path, caches: CacheMounts, stack: AsyncExitStack) -> list[Document]:
        """Makes the mounts' directories below `place`; they are to be kept until `stack` is left.

        Raises NotFound, InvalidRequest, NotSupported, OSError.
        """
        documents = []
        for index, (mount, source) in enumerate(self._vertex.mounts):
            if mount.kind == "tmpfs":
                documents.append(_tmpfs(mount))
            elif mount.kind == "cache":
                if source is not None or mount.source:
                    raise NotSupported("RUN --mount=type=cache with from or source is not supported yet")
                documents.append(_bind(await caches.enter(mount, stack), mount.target, mount.read_only))
            elif source is not None:
                directory = place / f"mount{index}"
                stack.push_async_callback(asyncio.to_thread, remove_tree, directory)
                copied = await self._copy(index, mount, source, directory)
                documents.append(_bind(copied, mount.target, mount.read_only))
        if self._vertex.script is not None:
            documents.append(_bind(_script(place, self._vertex.script), SCRIPTS, read_only=True))
        return documents

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
            yield self._context
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
