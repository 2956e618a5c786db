"""`docker diff`: a container's upper directory against the layers it stands on.

The rules are moby's for comparing two trees (go-archive, ChangesDirs): a directory is changed when its owner or mode
is, or anything in it; a file when its time, size, owner, mode or capabilities are. What is below something that was
added is told too, what is below something that was deleted is not.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dosirak.engine.containers.files.model import Change, Kind
from dosirak.engine.containers.files.stubs import is_stub
from dosirak.engine.layers import whiteouts
from dosirak.engine.runtime.inroot import open_in_root
from dosirak.engine.runtime.overlay import open_overlay
from dosirak.engine.runtime.syscalls import RESOLVE_NO_SYMLINKS

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
# Asking for so many names one by one costs more than reading the directory below once.
_FEW = 32
_BILLION = 10**9
_STUBS_IN = (b"etc/", b"dev/")


def changes(upper: str, lower: Sequence[str]) -> list[Change]:
    """Every path that differs, parents before what is in them. Blocking.

    Parameters: `upper`: the container's upper directory; `lower`: the image's, the topmost first. Raises OSError.
    """
    below = open_overlay(lower) if lower else -1
    top = os.open(upper, _DIRECTORY | os.O_CLOEXEC)
    try:
        return [*_Comparison(top, below).differences(in_image=below >= 0)]
    finally:
        os.close(top)
        if below >= 0:
            os.close(below)


class _Found(NamedTuple):
    """What became of one name: the change itself, the directory to go on with, whether the image has that one too."""

    change: Change | None
    deeper: bytes = b""
    in_image: bool = False


class _Level:
    """A directory on the way down: its change, to be told as soon as something in it differs, and what is to come."""

    __slots__ = ("found", "untold")

    def __init__(self, untold: Change | None, found: list[_Found]) -> None:
        self.untold, self.found = untold, iter(found)


def _told_now(levels: list[_Level]) -> Iterator[Change]:
    """The changes of directories that are not told yet: those below the last one that is."""
    untold = []
    for level in reversed(levels):
        if level.untold is None:
            break
        untold.append(level.untold)
        level.untold = None
    return reversed(untold)


class _Comparison:
    def __init__(self, upper: int, below: int) -> None:
        self._upper = upper
        self._below = below

    def differences(self, *, in_image: bool) -> Iterator[Change]:
        """What differs, from the root down. Without recursion: a container's tree is as deep as it likes."""
        levels = [_Level(None, self._level(b"", in_image))]
        while levels:
            found = next(levels[-1].found, None)
            if found is None:
                levels.pop()
                continue
            if found.change is not None:
                yield from _told_now(levels)
                yield found.change
            if found.deeper:
                untold = None if found.change is not None else _change(found.deeper, Kind.CHANGED)
                levels.append(_Level(untold, self._level(found.deeper, found.in_image)))

    def _level(self, path: bytes, in_image: bool) -> list[_Found]:
        upper = _open(self._upper, path)
        if upper < 0:
            return []  # removed meanwhile
        lower = _open(self._below, path) if in_image else -1
        try:
            with os.scandir(upper) as entries:
                here = {os.fsencode(entry.name): entry for entry in entries}
            opaque = lower >= 0 and whiteouts.is_opaque(upper)
            there = _Names(lower, whole=opaque or len(here) > _FEW)
            found = []
            for name in sorted({*here, *there.listed} if opaque else here):
                inside = path + b"/" + name if path else name
                entry = here.get(name)
                try:
                    if entry is None:
                        found.append(_Found(_change(inside, Kind.DELETED)))
                    elif there.has(name):
                        found.append(_known(entry, upper, there, inside))
                    else:
                        found.append(_unknown(entry, inside))
                except FileNotFoundError:
                    pass
            return found
        finally:
            os.close(upper)
            if lower >= 0:
                os.close(lower)


def _unknown(entry: os.DirEntry[str], path: bytes) -> _Found:
    """What became of a name that the image does not have."""
    is_directory = entry.is_dir(follow_symlinks=False)
    if not is_directory and entry.is_file(follow_symlinks=False) and not path.startswith(_STUBS_IN):
        return _Found(_change(path, Kind.ADDED))  # almost every one, without a look at it
    status = entry.stat(follow_symlinks=False)
    if whiteouts.is_whiteout(status):
        return _Found(None)
    change = None if is_stub(path, status) else _change(path, Kind.ADDED)
    return _Found(change, path if is_directory else b"")


def _known(entry: os.DirEntry[str], upper: int, there: _Names, path: bytes) -> _Found:
    """What became of a name that the image has, too."""
    status = entry.stat(follow_symlinks=False)
    if whiteouts.is_whiteout(status):
        return _Found(_change(path, Kind.DELETED))
    name = os.fsencode(entry.name)
    before = there.stat(name)
    differs = _differ(before, status) or _capability(upper, name) != _capability(there.fd, name)
    deeper = path if stat.S_ISDIR(status.st_mode) else b""
    return _Found(_change(path, Kind.CHANGED) if differs else None, deeper, stat.S_ISDIR(before.st_mode))


class _Names:
    """What the image has in a directory (-1: it has no such directory)."""

    def __init__(self, fd: int, *, whole: bool) -> None:
        self.fd = fd
        self._whole = whole or fd < 0
        self.listed: frozenset[bytes] = frozenset()
        if whole and fd >= 0:
            with os.scandir(fd) as entries:
                self.listed = frozenset(os.fsencode(entry.name) for entry in entries)

    def has(self, name: bytes) -> bool:
        """Whether it has this name."""
        if self._whole:
            return name in self.listed
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def stat(self, name: bytes) -> os.stat_result:
        """Raises OSError."""
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)


def _open(root: int, path: bytes) -> int:
    try:
        return open_in_root(root, path, _DIRECTORY, resolve=RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return -1
        raise


def _differ(before: os.stat_result, now: os.stat_result) -> bool:
    """Not the size and time of a directory: they change with what is in it."""
    if (before.st_mode, before.st_uid, before.st_gid, before.st_rdev) != (
        now.st_mode,
        now.st_uid,
        now.st_gid,
        now.st_rdev,
    ):
        return True
    if stat.S_ISDIR(now.st_mode):
        return False
    return before.st_size != now.st_size or not _same_time(before.st_mtime_ns, now.st_mtime_ns)


def _same_time(before: int, now: int) -> bool:
    """A time that went through a tar has lost its fraction."""
    return before == now or (before // _BILLION == now // _BILLION and 0 in (before % _BILLION, now % _BILLION))


def _capability(directory: int, name: bytes) -> bytes:
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return b""
    try:
        return os.getxattr(f"/proc/self/fd/{fd}", "security.capability")
    except OSError:
        return b""
    finally:
        os.close(fd)


def _change(path: bytes, kind: Kind) -> Change:
    return Change("/" + path.decode("utf-8", "replace"), kind)
