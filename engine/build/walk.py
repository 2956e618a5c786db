"""Everything below a directory, as entries, but what patterns leave out. Blocking."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from dosirak.engine.build.digests import read_xattrs
from dosirak.engine.build.entries import BELOW, READ_DIR, Entry, Reader, changed
from dosirak.engine.build.ignore import Ignore, State
from dosirak.engine.runtime import syscalls as sys


def walk(reader: Reader, excludes: Ignore, top: int, real: str, state: State | None) -> list[Entry]:
    """What is below the directory `top` (a descriptor): a directory before what is in it, its files together.

    Parameters: `excludes` match paths below the directory; the source's own ignore rules match paths of the context,
    where the directory is `real` and `state` is what they say of it. No link is followed, and however deep the tree,
    two descriptors are open. Raises InvalidRequest, OSError, Stopped.
    """
    return _Walk(reader, excludes, top, real, state).run()


@dataclass(slots=True)
class _Directory:
    """A directory that the walk still has to read; `kept` once it is among the entries."""

    path: str
    entry: Entry | None
    above: _Directory | None
    ignored: State | None
    excluded: State | None
    kept: bool


class _Walk:
    def __init__(self, reader: Reader, excludes: Ignore, top: int, real: str, state: State | None) -> None:
        self._reader = reader
        self._excludes = excludes
        self._top = top
        self._real = real
        self._entries: list[Entry] = []
        self._waiting = [_Directory("", None, None, state, None, kept=True)]

    def run(self) -> list[Entry]:
        while self._waiting:
            directory = self._waiting.pop()
            try:
                self._read(directory)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise changed(directory.path or self._real or ".") from error
        return self._entries

    def _read(self, directory: _Directory) -> None:
        fd = sys.openat2(self._top, directory.path or ".", READ_DIR | os.O_NOFOLLOW, resolve=BELOW)
        try:
            if directory.entry is not None:
                directory.entry.xattrs = read_xattrs(fd)
            with os.scandir(fd) as found:
                names = sorted(entry.name for entry in found)
            below = [inner for name in names if (inner := self._look_at(directory, fd, name))]
        finally:
            os.close(fd)
        self._waiting += reversed(below)

    def _look_at(self, directory: _Directory, fd: int, name: str) -> _Directory | None:
        """Takes one name of a directory: a file becomes an entry; a directory to read is returned."""
        path = f"{directory.path}/{name}" if directory.path else name
        ignore, excludes = self._reader.source.ignore, self._excludes
        ignored = excluded = False
        ignored_state = excluded_state = None
        real = f"{self._real}/{path}" if self._real else path
        if ignore:
            ignored, ignored_state = ignore.step(real, directory.ignored)
        if excludes:
            excluded, excluded_state = excludes.step(path, directory.excluded)
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            # a socket has no place in a context: Docker's clients leave it out of the tar
            socket = self._reader.source.context and stat.S_ISSOCK(status.st_mode)
            if not ignored and not excluded and not socket:
                self._keep(directory)
                self._entries.append(self._reader.entry(path, fd, name, status))
            return None
        if (ignored and not ignore.may_include_below(real)) or (excluded and not excludes.may_include_below(path)):
            return None
        inner = _Directory(path, Entry(path, status), directory, ignored_state, excluded_state, kept=False)
        if not ignored and not excluded:
            self._keep(inner)
        return inner

    def _keep(self, directory: _Directory | None) -> None:
        """Puts a directory, and those above it, among the entries, if they are not there: a pattern took back in
        something below a directory that is itself left out."""
        missing = []
        while directory is not None and not directory.kept:
            directory.kept = True
            missing.append(directory.entry)
            directory = directory.above
        self._entries += [entry for entry in reversed(missing) if entry is not None]
