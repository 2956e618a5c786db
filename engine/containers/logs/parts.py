"""The files of a log, the oldest first, and which of them follows which.

Files move on to the next name, are compressed, and go, while they are read. A part is the same part when it is the same
file, or was last changed at the same nanosecond: its writer sees to that (`runtime/logs/rotating.py`).
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

# A log is rotated in 50 microseconds at the fastest, and looked at in 20: after so many looks one was quick enough.
_SCANS = 50


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

    @property
    def key(self) -> tuple[str, int, int]:
        """Equal for the same file under the same name."""
        return self.name, self.state.st_dev, self.state.st_ino


class Parts:
    """The files of the log at `path`; `files`: those that a running log began since somebody reads along."""

    def __init__(self, path: str, files: deque[int] | None = None) -> None:
        self._path = path
        self._files = files if files is not None else deque()

    def all(self) -> list[Named]:
        """The files there are, the oldest first, as they stood at one moment."""
        found = self._scan()
        for _ in range(_SCANS):
            again = self._scan()
            if [entry.key for entry in again] == [entry.key for entry in found]:
                break
            found = again  # it was rotated while we looked
        return found

    def _scan(self) -> list[Named]:
        found: list[Named] = []
        number = 1
        while older := self._named(f"{self._path}.{number}") or self._named(f"{self._path}.{number}.gz"):
            found.insert(0, older)
            number += 1
        newest = self._named(self._path)
        return [*found, newest] if newest else found

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
            for _ in range(place + 1):
                os.close(self._files.popleft())
            if place + 1 < len(files):
                return self._first_file()
        for _ in range(_SCANS):
            following = self._following(part, self.all())
            if following is None:
                return None if place is not None else self._oldest_file(part)
            if (found := self.open(following)) is not None:
                return found
        return None  # nobody is that unlucky

    def _following(self, part: Part, found: list[Named]) -> Named | None:
        own = next((number for number, named in enumerate(found) if part.same(named.state)), None)
        if own is not None:
            return found[own + 1] if own + 1 < len(found) else None
        # It has been rotated out of existence: what is the oldest that there is? A file that was passed to us may be.
        first = os.fstat(self._files[0]) if self._files else None
        for named in found:
            if first is not None and (named.live or named.state.st_mtime_ns >= first.st_mtime_ns):
                return None
            if named.live or named.state.st_mtime_ns > part.changed:
                return named
        return None

    def _oldest_file(self, part: Part) -> Part | None:
        own = self._named(self._path)
        return None if own is not None and part.same(own.state) else self._first_file()

    def _first_file(self) -> Part | None:
        """Opened anew, since the descriptor that came is for writing."""
        if not self._files:
            return None
        return Part(os.open(f"/proc/self/fd/{self._files[0]}", os.O_RDONLY | os.O_CLOEXEC))


def _decompressed(fd: int, folder: Path) -> Part | None:
    """In a nameless file: a log may be larger than memory. None when it is damaged, or the disk full."""
    with open(fd, "rb") as packed:
        changed = os.fstat(fd).st_mtime_ns
        plain = -1
        try:
            with tempfile.TemporaryFile(dir=folder) as file, gzip.GzipFile(fileobj=packed) as unpacked:
                shutil.copyfileobj(unpacked, file, 1 << 18)
                file.flush()
                plain = os.dup(file.fileno())
                os.lseek(plain, 0, os.SEEK_SET)
                os.utime(plain, ns=(changed, changed))
        except (OSError, EOFError, zlib.error):
            if plain >= 0:
                os.close(plain)
            return None
    return Part(plain)
