"""tmpcopyup: what a directory of the root has is in the tmpfs over it as well (config.md, "Linux mount options")."""

from __future__ import annotations

import os
import stat

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def copy(source: int, target: int) -> None:
    """All below a directory, with owners, modes and times. Nothing is followed: the root is the image's.

    Parameters: descriptors of both directories. Raises OSError.
    """
    here = os.open(".", _FLAGS | os.O_DIRECTORY, dir_fd=source)
    try:
        for name in os.listdir(here):
            _copy_entry(here, target, name)
        _give(os.fstat(here), ".", target)
    finally:
        os.close(here)


def _copy_entry(source: int, target: int, name: str) -> None:
    found = os.stat(name, dir_fd=source, follow_symlinks=False)
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        os.mkdir(name, 0o700, dir_fd=target)
        below = [os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=parent) for parent in (source, target)]
        try:
            copy(*below)
        finally:
            for fd in below:
                os.close(fd)
        return
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif kind == stat.S_IFREG:
        _copy_file(source, target, name)
    else:
        os.mknod(name, found.st_mode, found.st_rdev, dir_fd=target)
    _give(found, name, target)


def _copy_file(source: int, target: int, name: str) -> None:
    read = os.open(name, _FLAGS, dir_fd=source)
    write = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        while data := os.read(read, 1 << 20):
            while data:
                data = data[os.write(write, data) :]
    finally:
        os.close(read)
        os.close(write)


def _give(found: os.stat_result, name: str, target: int) -> None:
    os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=target)
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)
