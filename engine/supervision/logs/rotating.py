"""A log in files of a limited size: the current one, and its predecessors as `.1`, `.2`… (`.gz` once compressed).

A reader follows the parts by the times of their last change, which grow strictly from part to part: names move on
under it, and a compressed part is another file.
"""

from __future__ import annotations

import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Entries are cut at so many bytes, as Docker does.
LONGEST = 16384


class Log:
    """Appends output to a log file. A write that fails (disk full) loses those entries, never the container."""

    def __init__(self, path: str, *, max_size: int = 0, max_files: int = 1, compressed: bool = False) -> None:
        """Parameters: `max_size` in bytes, 0 for no rotation; `max_files` kept, the current one included;
        `compressed`: rotated parts may be. Raises OSError."""
        self.path, self.max_size, self.max_files = path, max_size, max_files
        self.on_rotate: Callable[[int], None] | None = None
        self._suffixes = ("", ".gz") if compressed else ("",)
        self._partial: dict[int, bytes] = {}
        self._latest = 0
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self.size = os.fstat(self._fd).st_size
        if self.on_rotate:
            self.on_rotate(self._fd)

    def write(self, stream: int, data: bytes) -> None:
        """Log what `stream` (1 stdout, 2 stderr) wrote; an unfinished line waits for its end."""
        partial = self._partial.pop(stream, b"")
        if partial:
            data = partial + data
        end = data.rfind(b"\n") + 1
        while len(data) - end > LONGEST:
            end = cut(data, end)
        if end < len(data):
            self._partial[stream] = data[end:]
        if end:
            self._log(stream, data[:end])

    def flush(self) -> None:
        """Log unfinished lines as they are: the container has ended."""
        for stream, rest in sorted(self._partial.items()):
            self._log(stream, rest)
        self._partial.clear()

    def unfinished(self) -> list[tuple[int, bytes]]:
        """Per stream, what waits for the end of its line."""
        return list(self._partial.items())

    @property
    def fd(self) -> int:
        """The current file's descriptor; -1 when it can't be written."""
        return self._fd

    def place(self) -> tuple[int, list[int]]:
        """How far the log goes: the current file's size and descriptor; -1 and none when it can't be written."""
        return (self.size, [self._fd]) if self._fd >= 0 else (-1, [])

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)

    def _log(self, stream: int, data: bytes) -> None:
        try:
            if self._fd < 0:
                self._open()
            self._append(stream, data)
        except OSError:
            return

    def _append(self, stream: int, data: bytes) -> None:
        """Write whole entries. Raises OSError."""
        raise NotImplementedError

    def _fitting(self, data: bytes, at: int, extra: int = 0) -> int:
        """How far from `at` lines go into the current file, which is rotated if none does; a line longer than a file
        may be goes in whole all the same. `extra`: bytes that will be written with them."""
        if not self.max_size or self.size + extra + len(data) - at <= self.max_size:
            return len(data)
        end = data.rfind(b"\n", at, at + max(0, self.max_size - self.size - extra)) + 1
        if end <= at and self.size:
            self._rotate()
            return self._fitting(data, at, extra)
        return end if end > at else data.find(b"\n", at) + 1 or len(data)

    def _put(self, record: bytes) -> None:
        before = self.size
        view = memoryview(record)
        try:
            while view:
                written = os.write(self._fd, view)
                self.size += written
                view = view[written:]
        except OSError:
            # A full disk: what comes later must not stand behind half an entry.
            os.ftruncate(self._fd, before)
            self.size = before
            raise

    def _rotate(self) -> None:
        # -1 at once: should what follows fail, the number may soon be somebody else's descriptor.
        fd, self._fd = self._fd, -1
        try:
            self._latest = max(time.time_ns(), (self._latest or self._time_of_last()) + 1)
            os.utime(fd, ns=(self._latest, self._latest))
        finally:
            os.close(fd)
        folder = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if len(self._suffixes) > 1:
                fcntl.flock(folder, fcntl.LOCK_EX)  # the compressor renames too
            self._shift(folder)
        finally:
            os.close(folder)
        self._open()

    def _shift(self, folder: int) -> None:
        name = os.path.basename(self.path)
        if self.max_files <= 1:
            os.unlink(name, dir_fd=folder)  # not cut to nothing: somebody may be reading it
            return
        _move(folder, [f"{name}.{self.max_files - 1}{suffix}" for suffix in self._suffixes], [])
        for number in range(self.max_files - 1, 1, -1):
            _move(
                folder,
                [f"{name}.{number - 1}{suffix}" for suffix in self._suffixes],
                [f"{name}.{number}{suffix}" for suffix in self._suffixes],
            )
        _move(folder, [name], [f"{name}.1"])

    def _time_of_last(self) -> int:
        """Of the newest rotated part that an earlier monitor left."""
        for suffix in self._suffixes:
            try:
                return os.stat(f"{self.path}.1{suffix}").st_mtime_ns
            except OSError:
                continue
        return 0


def _move(folder: int, names: list[str], to: list[str]) -> None:
    """Rename, or without new names remove, those of the files that there are."""
    for number, name in enumerate(names):
        try:
            if to:
                os.rename(name, to[number], src_dir_fd=folder, dst_dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            continue


def cut(data: bytes, start: int) -> int:
    """Where an entry that starts at `start` ends at the latest. Backs off to the start of a UTF-8 character; where
    there is none in the last four bytes, it is no UTF-8."""
    end = start + LONGEST
    return next((at for at in range(end, end - 4, -1) if data[at] & 0xC0 != 0x80), end)
