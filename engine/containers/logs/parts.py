"""The files of a log, the oldest first, and which of them follows which.

Files move on to the next name, are compressed, and go, while they are read. A part is the same part when it is the same
file, or was last changed at the same nanosecond: its writer sees to that (`supervision/logs/rotating.py`).
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LOOKS = 50
"""Names move on while one looks: so often it is looked again."""


class Part:
    """One open file of a log."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)

    @property
    def changed(self) -> int:
        """When it was last written to (nanoseconds)."""
        return os.fstat(self.fd).st_mtime_ns

    def same(self, state: os.stat_result) -> bool:
        """Whether that is this part, by whatever name and in whatever form."""
        own = os.fstat(self.fd)
        return (own.st_dev, own.st_ino) == (state.st_dev, state.st_ino) or own.st_mtime_ns == state.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Named:
    """A file by its name at one moment. `live`: it is the one that is written to."""

    name: str
    state: os.stat_result
    live: bool


class Parts:
    """The files of the log at `path`. `files`: descriptors, which can't move on, from one that was the newest at some
    moment; `coming`: whether each file that is begun will be among them."""

    def __init__(self, path: str, files: deque[int] | None = None, coming: Callable[[], bool] = lambda: False) -> None:
        self._path = path
        self._files = files if files is not None else deque()
        self._coming = coming

    def all(self) -> list[Named]:
        """The files there are, the oldest first."""
        found: dict[int, Named] = {}
        newest = self._named(self._path)
        number, gap = 1, False
        while True:
            older = self._named(f"{self._path}.{number}") or self._named(f"{self._path}.{number}.gz")
            if older is None and gap:
                break
            # While the names move on, from the last one down, one is missing, and one is met twice.
            gap = older is None
            if older is not None:
                found.pop(older.state.st_ino, None)
                found[older.state.st_ino] = older
            number += 1
        if newest is not None and newest.state.st_ino not in found:
            return [*reversed(found.values()), newest]
        return [*reversed(found.values())]

    def up_to_first(self) -> list[Named]:
        """As `all`, without those that were begun after the first of `files`."""
        found = self.all()
        if not self._files:
            return found
        first = os.fstat(self._files[0])
        own = next((number for number, named in enumerate(found) if named.state.st_ino == first.st_ino), -1)
        if own >= 0:
            return found[: own + 1]
        # It is compressed, or gone: so another one is written to.
        return [named for named in found if not named.live and named.state.st_mtime_ns <= first.st_mtime_ns]

    def backwards(self) -> Iterator[Part]:
        """Opens them one by one, from the first of `files` or else the newest there is."""
        found, first = self.up_to_first(), self.first_file()
        if first is not None:
            found = [named for named in found if not first.same(named.state)]
            yield first
        for named in reversed(found):
            if part := self.open(named):
                yield part

    def _named(self, name: str) -> Named | None:
        try:
            return Named(name, Path(name).lstat(), live=name == self._path)
        except OSError:
            return None

    def open(self, named: Named) -> Part | None:
        """None when it has another name by now, or is gone."""
        try:
            fd = os.open(named.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        if os.fstat(fd).st_ino != named.state.st_ino:
            os.close(fd)
            return None
        if not named.name.endswith(".gz"):
            return Part(fd)
        return _decompressed(fd, Path(named.name).parent)

    def after(self, part: Part) -> Part | None:
        """The part that was begun when this one was full; None while there is none."""
        files = list(self._files)
        place = next((number for number, fd in enumerate(files) if part.same(os.fstat(fd))), None)
        if place is not None:
            if place + 1 == len(files) and self._coming():
                return None  # by their names, one too late could look like the next
            for _ in range(place + 1):
                os.close(self._files.popleft())
            if self._files:
                return self.first_file()
        for _ in range(LOOKS):
            found = self.all()
            own = next((number for number, named in enumerate(found) if part.same(named.state)), -1)
            if own == len(found) - 1:
                return None
            following = found[own + 1] if own >= 0 else self._oldest_after(part, found)
            opened = self.open(following) if following else self.first_file()
            if opened is not None and (own < 0 or self.still(found[own])):
                return opened
            if opened is not None:
                opened.close()  # the names moved on while we looked: it may not be the next one
        return None

    def still(self, named: Named) -> bool:
        """Whether it has that name yet."""
        now = self._named(named.name)
        return now is not None and now.state.st_ino == named.state.st_ino

    def _oldest_after(self, part: Part, found: list[Named]) -> Named | None:
        """It has been rotated out of existence: what is the oldest that there is? None: a file that was passed."""
        first = os.fstat(self._files[0]) if self._files else None
        for named in found:
            if first is not None and (named.live or named.state.st_mtime_ns >= first.st_mtime_ns):
                return None
            if named.live or named.state.st_mtime_ns > part.changed:
                return named
        return None

    def first_file(self) -> Part | None:
        """The first of `files`, opened anew, since the descriptor that came is for writing."""
        if not self._files:
            return None
        return Part(os.open(f"/proc/self/fd/{self._files[0]}", os.O_RDONLY | os.O_CLOEXEC))


def _decompressed(fd: int, folder: Path) -> Part | None:
    """In a nameless file: a log may be larger than memory. Of a damaged one, or on a full disk, as much as there is."""
    with open(fd, "rb") as packed:
        changed = os.fstat(fd).st_mtime_ns
        try:
            with tempfile.TemporaryFile(dir=folder) as file, gzip.GzipFile(fileobj=packed) as unpacked:
                with contextlib.suppress(OSError, EOFError, zlib.error):
                    shutil.copyfileobj(unpacked, file, 1 << 16)
                    file.flush()
                plain = os.dup(file.fileno())
        except OSError:
            return None
    os.utime(plain, ns=(changed, changed))
    os.lseek(plain, 0, os.SEEK_SET)
    return Part(plain)
