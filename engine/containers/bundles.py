"""The directories of containers: made ahead of time, and deleted when there is time for it.

    <data>/containers/<id>/   config.json, upper, work, rootfs (a mount point), the network files, log, exit.json
    <data>/spare/<n>/         the same, empty: a new container takes one by a rename
    <data>/trash/             what is removed goes here by a rename, and is deleted in the background
    <data>/places/            below every image: what a start mounts on, for the many images that lack it

Making seven entries and deleting what a container wrote take longer than anything else the service does for a
short-lived container; a rename is all that a caller waits for.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import stat
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from dosirak.engine.errors import HostLimit
from dosirak.engine.layers.removal import remove_tree

T = TypeVar("T")
_log = logging.getLogger(__name__)
_DIRECTORIES = ("upper", "work", "rootfs")
# Made empty: to write into a file that is there costs a fraction of making one.
_FILES = ("config.json", "hosts", "hostname", "resolv.conf")
# For the monitor's note of the end: its room is taken ahead, for a disk that is full by then.
_NOTE, _NOTE_BYTES = "exit.json.new", 512
_SPARES = 4
# To make one in a container's upper directory, with the directory around it, takes as long as five mounts.
_PLACE_DIRECTORIES, _PLACE_FILES = ("proc", "sys", "dev", "etc"), ("etc/hosts", "etc/hostname", "etc/resolv.conf")
# A burst of short containers is deleted in one go, after it.
_TRASH_SECONDS = 0.25


class Bundles:
    """The container directories of one engine root. Not thread-safe, but for what runs in its own thread."""

    def __init__(self, data: Path) -> None:
        """Parameters: `data`: the engine's data directory. Raises OSError."""
        self.root, self._spare, self._trash = data / "containers", data / "spare", data / "trash"
        for path in (self.root, self._spare, self._trash):
            path.mkdir(mode=0o710, parents=True, exist_ok=True)
        self.places = data / "places"
        """The lowest layer of every container: whatever an image has, or has removed, covers it."""
        _make_places(self.places)
        self._numbers = itertools.count()
        self._ready: deque[Path] = deque()
        self._wanted = asyncio.Event()
        self._full = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to keep spares and to empty the trash; needs the event loop."""
        for left in (*self._spare.iterdir(), *self._trash.iterdir()):
            self._discard(left)  # of an earlier service, perhaps half made
        self._wanted.set()
        self._workers = [
            asyncio.create_task(self._keep_spares(), name="spare bundles"),
            asyncio.create_task(self._empty_trash(), name="trash"),
        ]

    def directory(self, container_id: str) -> Path:
        """Where a container's bundle is, or would be."""
        return self.root / container_id

    def make(self, container_id: str, layers: Sequence[str] = ()) -> Path:
        """A new bundle; `upper` looks like the root of the topmost of `layers`, which it will cover.

        Raises HostLimit.
        """
        directory = self.root / container_id
        try:
            if self._ready:
                self._ready.popleft().rename(directory)
            else:
                _make(directory)
            if layers:
                _match(f"{directory}/upper", layers[0])
        except OSError as error:
            raise HostLimit(f"{directory}: {os.strerror(error.errno or 0).lower()}") from error
        self._wanted.set()
        return directory

    def discard(self, container_id: str) -> None:
        """Delete a bundle soon; a missing one is fine."""
        self._discard(self.root / container_id)

    def _discard(self, directory: Path) -> None:
        try:
            directory.rename(self._trash / f"{directory.name}-{os.getpid()}-{next(self._numbers)}")
        except FileNotFoundError:
            return
        except OSError as error:
            # No record names it any more: the next start sweeps it.
            _log.warning("%s: can't be moved to the trash: %s", directory, error)
            return
        self._full.set()

    async def _keep_spares(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                while len(self._ready) < _SPARES:
                    self._ready.append(await _to_the_end(self._make_spare))
            except OSError as error:
                _log.warning("%s: no spare bundles: %s", self._spare, error)  # whoever needs one next tells it

    def _make_spare(self) -> Path:
        path = self._spare / f"{os.getpid()}-{next(self._numbers)}"
        _make(path)
        return path

    async def _empty_trash(self) -> None:
        while True:
            await self._full.wait()
            await asyncio.sleep(_TRASH_SECONDS)
            self._full.clear()
            await _to_the_end(self._delete_all)

    def _delete_all(self) -> None:
        for entry in self._trash.iterdir():
            try:
                remove_tree(entry)
            except OSError as error:
                _log.warning("%s: can't be deleted: %s", entry, error)

    async def close(self) -> None:
        """End the workers, delete the spares and the trash."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for left in self._spare.iterdir():
            self._discard(left)
        self._ready.clear()
        await asyncio.to_thread(self._delete_all)


async def _to_the_end(work: Callable[[], T]) -> T:
    """Work in a thread that a cancellation waits for: nothing goes on in a directory after `close`."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def _make(directory: Path) -> None:
    """Modes are set as such: the service's umask must not decide what a container's users can read."""
    path = str(directory)
    os.mkdir(path, 0o710)  # noqa: PTH102
    for name in _DIRECTORIES:
        os.mkdir(f"{path}/{name}", 0o755)  # noqa: PTH102
        os.chmod(f"{path}/{name}", 0o755)  # noqa: PTH101
    for name in (*_FILES, _NOTE):
        fd = os.open(f"{path}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)
            if name == _NOTE:
                os.posix_fallocate(fd, 0, _NOTE_BYTES)
        finally:
            os.close(fd)


def _make_places(places: Path) -> None:
    for path in (places, *(places / name for name in _PLACE_DIRECTORIES)):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    for name in _PLACE_FILES:
        path = places / name
        path.touch()
        path.chmod(0o644)


def _match(upper: str, layer: str) -> None:
    """Overlayfs shows the upper directory's owner and mode as the root's: make them the image's."""
    root = os.stat(layer)  # noqa: PTH116
    if root.st_uid or root.st_gid:
        os.chown(upper, root.st_uid, root.st_gid)
    if stat.S_IMODE(root.st_mode) != 0o755:
        os.chmod(upper, stat.S_IMODE(root.st_mode))  # noqa: PTH101
