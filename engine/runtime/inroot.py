"""The one place that opens paths inside a root we do not trust: openat2 from a root descriptor, then descriptors only.

`RESOLVE_IN_ROOT` makes absolute paths, absolute symlinks and ".." stay inside the root (as chroot would, without
its races); `RESOLVE_NO_MAGICLINKS` keeps /proc/N/fd and friends from leading out (openat2(2), kernel 5.6).
"""

from __future__ import annotations

import errno
import os

from dosirak.engine.runtime import syscalls as sys

_IN_ROOT = sys.RESOLVE_IN_ROOT | sys.RESOLVE_NO_MAGICLINKS


def open_in_root(root_fd: int, path: str | bytes, flags: int, mode: int = 0, *, resolve: int = 0) -> int:
    """Open `path` inside the root.

    Parameters: `flags` and `mode` of open(2) (O_CLOEXEC is added; O_NOFOLLOW refuses a final symlink), `resolve`:
    further RESOLVE_* flags. Returns a descriptor. Raises OSError.
    """
    while True:
        try:
            return sys.openat2(root_fd, path or b".", flags, mode, _IN_ROOT | resolve)
        except OSError as error:
            # openat2(2): a rename anywhere may fail a ".." walk by EAGAIN; it is to be tried again.
            if error.errno != errno.EAGAIN:
                raise


def open_parent(root_fd: int, path: str | bytes, *, create: bool = False) -> tuple[int, bytes]:
    """The directory that holds `path`'s last component, and that component (never followed).

    Parameters: `create`: missing directories are made, mode 0755. Returns an O_PATH descriptor and the name.
    Raises OSError; EINVAL when the path has no last component that could be created ("", "/", "a/..").
    """
    raw = os.fsencode(path).rstrip(b"/")
    head, _, name = raw.rpartition(b"/")
    if name in (b"", b".", b".."):
        raise OSError(errno.EINVAL, "path names no entry of a directory", os.fsdecode(path))
    if create:
        return make_dirs(root_fd, head), name
    return open_in_root(root_fd, head, os.O_PATH | os.O_DIRECTORY), name


def make_dirs(root_fd: int, path: str | bytes, mode: int = 0o755) -> int:
    """Make the directory `path` with all its parents, inside the root, and open it (O_PATH).

    Each component is made by mkdirat in its opened parent, so a symlink exchanged meanwhile can't lead outside.
    Symlinks on the way are followed inside the root; a dangling one raises ENOENT. Raises OSError.
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    made = b""
    parent = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root_fd)
    for name in os.fsencode(path).split(b"/"):
        if name in (b"", b"."):
            continue
        made = made + b"/" + name
        try:
            child = open_in_root(root_fd, made, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            child = _make_dir(parent, name, mode)
        finally:
            os.close(parent)
        parent = child
    return parent


def _make_dir(parent: int, name: bytes, mode: int) -> int:
    if name == b"..":
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), "..")
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        pass
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
    return sys.openat2(parent, name, flags, resolve=sys.RESOLVE_BENEATH | sys.RESOLVE_NO_SYMLINKS)


def make_file(root_fd: int, path: str | bytes, mode: int = 0o644) -> int:
    """Open (O_PATH) the file `path`, making an empty one and its parents if nothing is there: a mount point.

    Raises OSError.
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH)
    except FileNotFoundError:
        pass
    parent, name = open_parent(root_fd, path, create=True)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, mode, dir_fd=parent))
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)


def read_file(root_fd: int, path: str | bytes, limit: int) -> bytes:
    """The content of a regular file inside the root, at most `limit` bytes.

    A FIFO or device is refused without being opened for real (no hang, no side effect). Raises OSError;
    EINVAL for anything but a regular file, EFBIG beyond `limit`.
    """
    import stat

    # O_PATH first: opening a FIFO or device has effects, looking at it has none.
    handle = open_in_root(root_fd, path, os.O_PATH)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fsdecode(path))
        # The descriptor's own entry in /proc may be shadowed in a container; reopening by name is checked again.
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    finally:
        os.close(handle)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fsdecode(path))
        chunks, size = [], 0
        while chunk := os.read(fd, 65536):
            size += len(chunk)
            if size > limit:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fsdecode(path))
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)
