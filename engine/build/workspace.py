"""A step's own directories: the overlay's upper and work directory, on the layers' file system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dosirak.engine.build.stubs import same_directory
from dosirak.engine.errors import HostLimit
from dosirak.engine.runtime.overlay import open_overlay


class Workspace:
    """Where one step works, on the layers `lowers` (the topmost first, at least one).

    The upper directory's own mode and owner are those of the layer below: they are what "/" has in the step.
    What is left of it in the end goes with the build's own directory, in a thread.
    Raises HostLimit when the directories can't be made.
    """

    def __init__(self, place: Path, lowers: Sequence[str]) -> None:
        self.place = place
        self.upper = place / "upper"
        self.work = place / "work"
        self.lowers = tuple(lowers)
        self._root = Path(lowers[0]).stat()
        try:
            for directory in (place, self.upper, self.work):
                directory.mkdir(mode=0o700)
            os.chown(self.upper, self._root.st_uid, self._root.st_gid)
            self.upper.chmod(self._root.st_mode & 0o7777)
        except OSError as error:
            raise HostLimit(f"build step: {error.strerror}: {error.filename}") from error

    @contextmanager
    def merged(self) -> Iterator[int]:
        """The step's file system, writable, as a descriptor of a mount that is nowhere."""
        fd = open_overlay(self.lowers, os.fspath(self.upper), os.fspath(self.work))
        try:
            yield fd
        finally:
            os.close(fd)

    @property
    def unchanged(self) -> bool:
        """Whether the step left nothing behind."""
        with os.scandir(self.upper) as entries:
            if next(entries, None) is not None:
                return False
        return same_directory(self.upper.stat(), self._root)


@contextmanager
def merged_view(lowers: Sequence[str]) -> Iterator[int]:
    """The layers `lowers` (the topmost first), merged, to read from, as a descriptor."""
    fd = open_overlay(lowers)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    """A directory of the engine's own, as a descriptor."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
