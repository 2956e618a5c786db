"""Copy-up: the image's content at a volume's mount point becomes the new volume's first content.

The image's view is a detached overlay; every path in it is opened in that root, so a symlink of the image's leads
nowhere else. Owners, modes, times, extended attributes, symbolic links and device nodes are kept; of a file
with several names each becomes a file of its own.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from dosirak.engine.errors import HostLimit
from dosirak.engine.runtime import owners
from dosirak.engine.runtime.inroot import open_in_root
from dosirak.engine.runtime.overlay import open_overlay
from dosirak.engine.runtime.syscalls import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2

_CHUNK = 1 << 24
# Two descriptors a level stay open; no program's files lie deeper, hostile images' may.
_DEEPEST = 128
# Overlayfs' own marks must not travel: in a volume they would be data of the container's choosing.
_OWN_XATTRS = ("trusted.overlay.", "user.overlay.")


def copy_up(lower: Sequence[str], path: str, target: str, part: str = "") -> bool:
    """Fill the empty directory `target` with what the image has at `path`; True if something was copied.

    Parameters: `lower`: the image's overlay lower directories, the topmost first; `part`: a directory below `target`
    that is meant. A file at `path`, or nothing, copies nothing. Raises HostLimit when the host refuses (disk full).
    """
    into = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if part and (into := _below(into, part)) < 0:
            return False
        if not lower or next(os.scandir(into), None) is not None:
            return False
        return _copy(lower, path, into)
    finally:
        if into >= 0:
            os.close(into)


def _below(top: int, part: str) -> int:
    """The directory `part` of `top`, which is closed; -1 if it is none. Containers write there: no link is followed
    out of it."""
    try:
        return openat2(top, part, os.O_RDONLY | os.O_DIRECTORY, resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    except OSError:
        return -1
    finally:
        os.close(top)


def _copy(lower: Sequence[str], path: str, into: int) -> bool:
    root = open_overlay(lower)
    try:
        try:
            source = open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False
            raise
        try:
            _directory(source, into)
        finally:
            os.close(source)
        return True
    except OSError as error:
        raise HostLimit(f"volume at {path}: copying the image's content failed: {error.strerror}") from error
    finally:
        os.close(root)


def _directory(source: int, target: int, level: int = 0) -> None:
    """Copy the content, then the directory's own attributes (times last: the content changed them)."""
    if level > _DEEPEST:
        raise OSError(errno.ENAMETOOLONG, f"directories nested more than {_DEEPEST} deep")
    for entry in os.listdir(source):
        _entry(source, target, os.fsencode(entry), level)
    _attributes(source, target, os.fstat(source))


def _entry(source: int, target: int, name: bytes, level: int) -> None:
    info = os.stat(name, dir_fd=source, follow_symlinks=False)
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFDIR:
        os.mkdir(name, 0o700, dir_fd=target)
        flags = os.O_RDONLY | os.O_DIRECTORY
        _open_both(source, target, name, flags, flags, lambda inner, copy: _directory(inner, copy, level + 1))
    elif kind == stat.S_IFREG:
        _open_both(source, target, name, os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _content)
    elif kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)
    elif kind in (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK):
        _node(target, name, info)
    # A socket's listener is not in the image: nothing to copy.


def _node(target: int, name: bytes, info: os.stat_result) -> None:
    """By descriptor: a container that has the volume already may put a symlink in a new node's place."""
    try:
        os.mknod(name, stat.S_IFMT(info.st_mode), info.st_rdev, dir_fd=target)
    except PermissionError:
        if owners.lacks_device(info.st_mode):
            return
        raise
    made = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target)
    try:
        if stat.S_IFMT(os.fstat(made).st_mode) != stat.S_IFMT(info.st_mode):
            return  # it isn't ours any more
        os.chown(f"/proc/self/fd/{made}", info.st_uid, info.st_gid)
        os.chmod(f"/proc/self/fd/{made}", stat.S_IMODE(info.st_mode))  # noqa: PTH101
    finally:
        os.close(made)


def _open_both(source: int, target: int, name: bytes, read: int, write: int, copy: Callable[[int, int], None]) -> None:
    origin = os.open(name, read | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        made = os.open(name, write | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            copy(origin, made)
        finally:
            os.close(made)
    finally:
        os.close(origin)


def _content(origin: int, made: int) -> None:
    while os.sendfile(made, origin, None, _CHUNK):
        pass
    _attributes(origin, made, os.fstat(origin))


def _attributes(origin: int, made: int, info: os.stat_result) -> None:
    """Owner before mode before extended attributes before times: each undoes a part of the one before."""
    os.fchown(made, info.st_uid, info.st_gid)
    os.fchmod(made, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(origin):
        if not name.startswith(_OWN_XATTRS):
            os.setxattr(made, name, os.getxattr(origin, name))
    os.utime(made, ns=(info.st_atime_ns, info.st_mtime_ns))
