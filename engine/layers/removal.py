"""Removing trees that others filled: by descriptors, following nothing, as deep as they may be.

`shutil.rmtree` recurses: a container can make a tree deeper than Python's stack (and than PATH_MAX).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from dosirak.engine.content.descent import DIRECTORY, identity, step


def remove_tree(path: Path) -> None:
    """Removes whatever is at `path`, if anything. Blocking. Raises OSError."""
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_entry(parent, os.fsencode(path.name))
    except FileNotFoundError:
        pass
    finally:
        os.close(parent)


def remove_entry(parent: int, name: bytes) -> bool:
    """Removes `name` in the directory `parent`, with all that is below it.

    Returns whether it was a directory or a symlink (so that paths may lead elsewhere now). Raises OSError.
    """
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if not stat.S_ISDIR(mode):
        os.unlink(name, dir_fd=parent)
        return stat.S_ISLNK(mode)
    _empty(parent, name)
    os.rmdir(name, dir_fd=parent)
    return True


class _Level:
    """A directory on the way down: which one it is, what is still in it, and which of that is being emptied."""

    __slots__ = ("current", "identity", "left")

    def __init__(self, directory: int) -> None:
        self.identity = identity(directory)
        self.left = _unlink_files(directory)
        self.current = b""


def _empty(parent: int, name: bytes) -> None:
    """Empties a directory without recursion and with two descriptors: down by name, up by "..", checked each time."""
    here = os.open(name, DIRECTORY, dir_fd=parent)
    try:
        levels = [_Level(here)]
        while True:
            level = levels[-1]
            if level.left:
                level.current = level.left.pop()
                here = step(here, level.current)
                levels.append(_Level(here))
                continue
            levels.pop()
            if not levels:
                return
            here = step(here, b"..")
            if identity(here) != levels[-1].identity:
                raise OSError(errno.EBUSY, "directory moved while it was removed", os.fsdecode(name))
            os.rmdir(levels[-1].current, dir_fd=here)
    finally:
        os.close(here)


def _unlink_files(directory: int) -> list[bytes]:
    """Removes all that is not a directory; returns the names of the directories."""
    directories = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(os.fsencode(entry.name))
            else:
                os.unlink(entry.name, dir_fd=directory)
    return directories
