"""`--mount=type=cache`: directories that outlive their step, one an id."""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dosirak.engine.build.threads import Stop, in_thread
from dosirak.engine.layers.removal import remove_tree
from dosirak.engine.runtime import owners

if TYPE_CHECKING:
    from dosirak.engine.build.dockerfile.mounts import Mount

_PART = ".part"
_MARK = ".used"
"""A file beside each: its access time is when the cache was made, its modification time when it was last of use, its
size how often before."""

Fill = Callable[[Path, Stop], None]
"""Puts a new cache's first content into a directory. Blocking."""


class Folder(NamedTuple):
    """A cache as it lies there: its directory, bytes on disk, whether a step has it mounted, when it was made and last
    of use (unix times), how often."""

    path: Path
    size: int
    in_use: bool
    created: float
    used: float
    uses: int


class CacheMounts:
    """The directories behind cache mounts, below `place`; the locks of the locked ones."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._private: set[Path] = set()
        self._used: defaultdict[Path, int] = defaultdict(int)
        self._taking = threading.Lock()
        self._sizes: dict[Path, tuple[int, int]] = {}

    async def enter(self, mount: Mount, stack: AsyncExitStack, origin: str = "", fill: Fill | None = None) -> Path:
        """The directory of a cache mount, held as its sharing says until `stack` is left.

        Parameters: `origin` names the files that a new one begins as a copy of, which `fill` makes; another origin is
        another cache. So is another `source`: a path inside a cache, which others may be changing now, would be
        theirs to choose (CVE-2024-23651). Raises OSError.
        """
        parts = (cache_id(mount), origin, mount.source.strip("/"))
        name = hashlib.sha256(":".join(filter(None, parts)).encode(errors="surrogatepass")).hexdigest()
        if mount.sharing == "locked":
            await stack.enter_async_context(self._locks[name])
        directory = self._place / name
        if mount.sharing == "private":
            # one that nobody else has at the moment: the first, the second…
            number = 1
            while directory in self._private:
                number += 1
                directory = self._place / f"{name}-{number}"
            self._private.add(directory)
            stack.callback(self._private.discard, directory)
        with self._taking:
            self._used[directory] += 1
        stack.callback(self._leave, directory)
        async with self._locks[f"make {directory.name}"]:
            if not directory.exists():
                await in_thread(lambda stop: self._make(directory, mount, fill, stop))
        _mark(directory)
        return directory

    def _leave(self, directory: Path) -> None:
        with self._taking:
            self._used[directory] -= 1
            if not self._used[directory]:
                del self._used[directory]

    def _make(self, directory: Path, mount: Mount, fill: Fill | None, stop: Stop) -> None:
        """Made beside and renamed: a cache is there with its first content, or not at all."""
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = directory.with_suffix(_PART)
        remove_tree(part)
        part.mkdir(mode=0o700)
        if fill is not None:
            fill(part, stop)
        if fill is None or mount.uid is not None or mount.gid is not None:
            owners.give(os.fspath(part), mount.uid or 0, mount.gid or 0)
        if fill is None or mount.mode is not None:
            part.chmod(0o755 if mount.mode is None else mount.mode & 0o7777)
        part.rename(directory)

    def folders(self) -> list[Folder]:
        """All that there are. Blocking: looks at every file of those that were used since the last time."""
        found = []
        for path in self._directories():
            try:
                mark = path.with_suffix(_MARK).stat()
                size = self._measure(path, mark.st_mtime_ns)
            except FileNotFoundError:  # removed, or not yet whole
                continue
            found.append(Folder(path, size, path in self._used, mark.st_atime, mark.st_mtime, mark.st_size + 1))
        return found

    def _measure(self, path: Path, used_ns: int) -> int:
        known = self._sizes.get(path)
        if known is not None and known[0] == used_ns and path not in self._used:
            return known[1]
        size = _size(path)
        self._sizes[path] = (used_ns, size)
        return size

    def remove(self, name: str) -> int:
        """Removes one unless a step has it mounted; returns the bytes it had. Blocking.

        Aside by rename at once, then file by file: whoever asks for it meanwhile gets a new one.
        """
        path = self._place / name
        aside = path.with_suffix(f".{secrets.token_hex(4)}{_PART}")
        with self._taking:  # else a step that comes just now would have what is on its way out
            if path in self._used:
                return 0
            try:
                path.rename(aside)
            except FileNotFoundError:
                return 0
            path.with_suffix(_MARK).unlink(missing_ok=True)
        remove_tree(aside)
        return self._sizes.pop(path, (0, 0))[1]

    def unfinished(self) -> list[Path]:
        """What a killed service left half-made."""
        return list(self._place.glob(f"*{_PART}"))

    def _directories(self) -> Iterator[Path]:
        if self._place.is_dir():
            yield from (path for path in self._place.iterdir() if not path.suffix)


def cache_id(mount: Mount) -> str:
    """What a cache is called: its id, or the path it is mounted at."""
    return posixpath.normpath(mount.id or mount.target)


def _mark(directory: Path) -> None:
    """Writes down that a cache is of use now."""
    mark = directory.with_suffix(_MARK)
    try:
        before = mark.stat()
    except FileNotFoundError:
        mark.touch()
        return
    os.truncate(mark, before.st_size + 1)
    os.utime(mark, ns=(before.st_atime_ns, time.time_ns()))


def _size(top: Path) -> int:
    total, waiting = 0, [os.fspath(top)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue  # a step is at work in it
    return total
