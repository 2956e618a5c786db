"""The room's door: `Files`, what the API asks about the files of containers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import BinaryIO, TypeVar

from dosirak.engine.containers.files import changes, committing, copying, sizes, view
from dosirak.engine.containers.files.committing import Request
from dosirak.engine.containers.files.copying import Deliver
from dosirak.engine.containers.files.model import Change, PathStat, Size
from dosirak.engine.containers.files.planning import plan
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.room import Room
from dosirak.engine.containers.sharing import ids
from dosirak.engine.errors import Conflict, EngineError
from dosirak.engine.layers.pack import Piece
from dosirak.engine.layers.threads import in_thread, outlast, run_thread

T = TypeVar("T")


class Files:
    """The files of every container of one engine root. A *ref* is an id, a prefix of one, or a name.

    Reading changes nothing and locks nothing; writing to a container that does not run keeps it from starting.
    """

    def __init__(self, room: Room) -> None:
        self._room = room

    async def stat(self, ref: str, path: str) -> PathStat:
        """What is at a path. Raises NotFound "Could not find the file x in container y", EngineError."""
        live = self._room.table.find(ref)
        return await self._read(live, lambda root: copying.path_stat(root, path, ref))

    async def archive(self, ref: str, path: str, deliver: Deliver) -> None:
        """What is at a path, with all below it, as a tar.

        Parameters: `deliver(stat, pieces)` is called in a thread and consumes the pieces. Raises as `stat` (before
        anything is delivered), and whatever `deliver` raises.
        """
        live = self._room.table.find(ref)

        def work(root: int) -> None:
            copying.archive(root, path, ref, deliver, _inner(live))

        await self._read(live, work)
        self._room.tell(live, "archive-path")

    async def extract(
        self, ref: str, path: str, source: BinaryIO, *, copy_ids: bool = False, keep_kinds: bool = False
    ) -> None:
        """Extract a tar (compressed or not) into the directory at `path`; `source` is read in a thread.

        Parameters: `copy_ids`: everything belongs to the container's user, not to whom the tar says; `keep_kinds`: a
        directory never takes the place of anything else, nor anything else a directory's. Raises NotFound,
        InvalidRequest (no directory, read-only, a bad archive), EngineError, HostLimit (disk full); what was extracted
        until then stays.
        """
        live = self._room.table.find(ref)

        def work(root: int) -> None:
            copying.unpack(
                *(root, path, ref, live.record, source),
                copy_ids=copy_ids,
                keep_kinds=keep_kinds,
                owners=_outer(live),
            )

        await self._write(live, work)
        self._room.tell(live, "extract-to-dir")

    async def export(self, ref: str, deliver: Callable[[Iterator[Piece]], None]) -> None:
        """The root filesystem as a tar, without volumes; `deliver` as in `archive`. Raises Conflict, HostLimit."""
        live = self._room.table.find(ref)
        _check_whole(live, "export")
        await self._read(live, lambda root: deliver(copying.whole(root, _inner(live))), mounts=False)
        self._room.tell(live, "export")

    async def changes(self, ref: str) -> list[Change]:
        """What differs from the image, parents before what is in them. Raises EngineError."""
        live = self._room.table.find(ref)
        try:
            return await in_thread(changes.changes, self._upper(live), live.record.layers)
        except OSError as error:
            raise EngineError(f"container {live.record.id}: comparing it with its image: {error.strerror}") from error

    async def commit(self, ref: str, request: Request) -> str:
        """Make an image of the container; its id.

        Raises NotFound (also when the container's image was removed), Conflict, InvalidRequest, HostLimit.
        """
        live = self._room.table.find(ref)
        _check_whole(live, "commit")
        return await committing.commit(self._room, live, request)

    async def size(self, ref: str) -> Size:
        """How much the container has written, and that together with its image."""
        live = self._room.table.find(ref)
        own = await in_thread(sizes.own_size, self._upper(live))
        return Size(own, own + self._room.images.layers_size(live.record.diff_ids))

    def _upper(self, live: Live) -> str:
        return f"{self._room.directory(live.record.id)}/upper"

    # Views

    async def _read(self, live: Live, work: Callable[[int], T], *, mounts: bool = True) -> T:
        while True:
            shown = plan(self._room, live, mounts=mounts)
            process = _process(live)
            try:
                return await _in_own_thread(shown, work)
            except view.NoPlace:
                # A container that never ran lacks places to mount on; as for a start, they are made.
                await self._write(live, lambda root: None)
            except view.Gone:
                await _ended(live, process)

    async def _write(self, live: Live, work: Callable[[int], T]) -> T:
        while True:
            # Two overlays with one upper directory don't agree: what does not run must not start meanwhile.
            async with live.lock if live.task is None else nullcontext():
                process = _process(live)
                try:
                    return await _in_own_thread(plan(self._room, live, writable=True), work)
                except view.Gone:
                    pass
            await _ended(live, process)


def _inner(live: Live) -> copying.Owners:
    """What the ids are inside a container with a user namespace; those of its files on disk are the same already."""
    maps = live.record.id_maps
    return (lambda number: ids.inner(maps, number)) if maps and _process(live) >= 0 else None


def _outer(live: Live) -> copying.Owners:
    maps = live.record.id_maps
    return (lambda number: ids.outer(maps, number)) if maps and _process(live) >= 0 else None


def _process(live: Live) -> int:
    return live.task.pidfd if live.task is not None else -1


async def _ended(live: Live, process: int) -> None:
    """Wait until the end of a process that has just been seen to be gone is known here, too."""
    while _process(live) == process:  # noqa: ASYNC110 (a few milliseconds, once in a blue moon)
        await asyncio.sleep(0.005)


def _check_whole(live: Live, doing: str) -> None:
    state = live.record.state
    if state.dead:
        raise Conflict(f"You cannot {doing} container {live.record.id} which is Dead")
    if state.removing:
        raise Conflict(f"You cannot {doing} container {live.record.id} which is being removed")


async def _in_own_thread(shown: view.Plan, work: Callable[[int], T]) -> T:
    """In a thread that ends with the work, for it takes a mount namespace along; a cancellation waits for its end."""
    working = run_thread(lambda: view.inside(shown, work))
    await outlast(working)
    return working.result()
