"""Files as a COPY sees them: where they come from, what stat says, what they hold. Blocking."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from dosirak.engine.build.digests import Digests
from dosirak.engine.build.ignore import Ignore
from dosirak.engine.build.paths import shown
from dosirak.engine.build.threads import Stop
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime import inroot
from dosirak.engine.runtime import syscalls as sys

BELOW = sys.RESOLVE_BENEATH | sys.RESOLVE_NO_SYMLINKS | sys.RESOLVE_NO_MAGICLINKS
"""How paths below a tree's top are opened: no link on the way, and none at the end (with O_NOFOLLOW)."""

READ_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(slots=True)
class Entry:
    """One file: `path` below its tree's top ("" for the top), what stat says, and what it holds.

    `digest`: sha256 of a regular file's content. `target`: a symbolic link's text.
    """

    path: str
    stat: os.stat_result
    digest: bytes = b""
    target: str = ""
    xattrs: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class Tree:
    """What one source path selected.

    `path` in the source's root; `name` is the name it gets in a directory; `top` is None for a directory whose
    entries go straight into the destination, else the one file there is. `entries`: a directory comes before what is
    in it, files of one directory stand together. `above`: for `--parents`, the directories that lead to it.
    """

    path: str
    name: str
    top: Entry | None
    entries: list[Entry] = field(default_factory=list)
    mtime_ns: int = 0
    above: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Source:
    """Where files come from: the root's descriptor; for a context its ignore rules, and everything becomes root's."""

    root: int
    ignore: Ignore = field(default_factory=Ignore)
    context: bool = False


class Reader:
    """Makes entries of a source's files, whose contents `digests` remembers; `stop` ends it early."""

    def __init__(self, source: Source, digests: Digests, stop: Stop) -> None:
        self.source = source
        self.stop = stop
        self._digests = digests

    def entry(self, path: str, directory: int, name: str, status: os.stat_result) -> Entry:
        """An entry that is no directory, whose lstat is `status`.

        `name` is opened in `directory`, in root when that is the source's root. Raises InvalidRequest, OSError,
        Stopped.
        """
        self.stop.check()
        entry = Entry(path, status)
        if stat.S_ISREG(status.st_mode):
            self._read(entry, directory, name)
        elif stat.S_ISLNK(status.st_mode):
            entry.target = os.readlink(name, dir_fd=directory)
        elif stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            # On overlayfs this is a whiteout: it would hide files of the layers below.
            raise InvalidRequest(f"{shown(path or name)}: a character device 0:0 can't be copied")
        return entry

    def _read(self, entry: Entry, directory: int, name: str) -> None:
        content = self._digests.known(entry.stat)
        if content is None:
            fd = open_file(directory, name, in_root=directory == self.source.root)
            try:
                entry.stat = os.fstat(fd)
                if not stat.S_ISREG(entry.stat.st_mode):
                    raise changed(entry.path or name)
                content = self._digests.read(fd, entry.stat, self.stop)
            finally:
                os.close(fd)
        entry.digest, entry.xattrs = content


def changed(path: str) -> InvalidRequest:
    """What to say of a file that is not what it was a moment ago."""
    return InvalidRequest(f"{shown(path)} changed while it was read; build again")


def open_file(directory: int, name: str, *, in_root: bool) -> int:
    """Opens a regular file to read: in root (links followed inside it), or a name of `directory`, no link."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    if in_root:
        return inroot.open_in_root(directory, name, flags)
    return os.open(name, flags | os.O_NOFOLLOW, dir_fd=directory)
