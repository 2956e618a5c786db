"""A directory into a tar: the same directory gives the same bytes.

A directory's entries come in the order of their names, before those of its subdirectories; times are cut to whole
seconds, as Docker does. Read by descriptors, following nothing. For a layer, overlayfs' whiteouts become ".wh." names
again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator

from dosirak.engine.layers import tarread, tarwrite, whiteouts
from dosirak.engine.layers.tarread import CHUNK
from dosirak.engine.runtime.inroot import open_in_root
from dosirak.engine.runtime.syscalls import RESOLVE_NO_SYMLINKS

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: tarread.REGULAR,
    stat.S_IFLNK: tarread.SYMLINK,
    stat.S_IFCHR: tarread.CHAR,
    stat.S_IFBLK: tarread.BLOCKDEV,
    stat.S_IFDIR: tarread.DIRECTORY,
    stat.S_IFIFO: tarread.FIFO,
}


class Packer:
    """Iterates over the pieces of a directory's tar; `size` is then the bytes of its regular files.

    Parameters: `root_fd`: the directory (a diff directory, or the root of an overlay mount). `as_layer`: whiteouts and
    opaque directories are written as image layers have them, and names that would read as such are left out. `room`:
    bytes that the files may have together (a sparse file is as large as it says). Raises OSError, ENOSPC beyond `room`.
    """

    def __init__(self, root_fd: int, *, as_layer: bool, room: int | None = None) -> None:
        self.size = 0
        self._root_fd = root_fd
        self._as_layer = as_layer
        self._room = room
        self._linked: dict[tuple[int, int], bytes] = {}

    def __iter__(self) -> Iterator[bytes]:
        return joined(self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        # The descriptor given may be an O_PATH one (a detached mount).
        root = open_in_root(self._root_fd, b".", _DIRECTORY)
        try:
            yield _header(b"./", os.fstat(root), tarread.DIRECTORY, _xattrs(root))
        finally:
            os.close(root)
        # Each directory is opened anew by its path: with one descriptor a level, a deep tree would exhaust them.
        pending = [b""]
        while pending:
            path = pending.pop()
            directory = open_in_root(self._root_fd, path, _DIRECTORY, resolve=RESOLVE_NO_SYMLINKS)
            try:
                if self._as_layer and whiteouts.is_opaque(directory):
                    yield tarwrite.header(_join(path, whiteouts.OPAQUE_NAME), tarread.REGULAR, mode=0o600)
                subdirectories = []
                for name in _names(directory):
                    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        subdirectories.append(_join(path, name))
                    yield from self._entry(directory, name, _join(path, name), status)
            finally:
                os.close(directory)
            pending += reversed(subdirectories)
        yield tarwrite.END

    def _entry(self, directory: int, name: bytes, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        if self._as_layer:
            if name.startswith(whiteouts.PREFIX):
                # A layer has no way to say "a file called .wh.x".
                return
            if whiteouts.is_whiteout(status):
                hiding = path[: -len(name)] + whiteouts.PREFIX + name
                yield tarwrite.header(hiding, tarread.REGULAR, mode=0o600, mtime=int(status.st_mtime))
                return
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            # A socket: nothing that a tar could hold.
            return
        if status.st_nlink > 1 and kind != tarread.DIRECTORY:
            first = self._linked.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                yield _header(path, status, tarread.LINK, link=first)
                return
        if kind == tarread.REGULAR:
            yield from self._file(directory, name, path)
        elif kind == tarread.DIRECTORY:
            fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                yield _header(path + b"/", status, kind, _xattrs(fd))
            finally:
                os.close(fd)
        else:
            link = os.readlink(name, dir_fd=directory) if kind == tarread.SYMLINK else b""
            yield _header(path, status, kind, link=link)

    def _file(self, directory: int, name: bytes, path: bytes) -> Iterator[bytes]:
        fd = os.open(name, _FILE, dir_fd=directory)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EBUSY, "changed while it was packed", os.fsdecode(path))
            self.size += status.st_size
            if self._room is not None and self.size > self._room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))
            yield _header(path, status, tarread.REGULAR, _xattrs(fd), size=status.st_size)
            left = status.st_size
            while left and (data := os.read(fd, min(left, CHUNK))):
                left -= len(data)
                yield data
            # A file that shrinks meanwhile (commit of a running container) keeps the length its header promised.
            yield from _zeros(left)
            yield tarwrite.padding(status.st_size)
        finally:
            os.close(fd)


def joined(pieces: Iterable[bytes], size: int = CHUNK) -> Iterator[bytes]:
    """The same bytes in pieces of about `size`: a header alone is not worth a write."""
    waiting: list[bytes] = []
    length = 0
    for piece in pieces:
        waiting.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(waiting)
            waiting.clear()
            length = 0
    if length:
        yield b"".join(waiting)


def _header(
    name: bytes,
    status: os.stat_result,
    kind: bytes,
    xattrs: dict[bytes, bytes] | None = None,
    *,
    size: int = 0,
    link: bytes = b"",
) -> bytes:
    device = status.st_rdev if kind in (tarread.CHAR, tarread.BLOCKDEV) else 0
    return tarwrite.header(
        name,
        kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=size,
        mtime=status.st_mtime_ns // 10**9,
        link=link,
        major=os.major(device),
        minor=os.minor(device),
        xattrs=xattrs,
    )


def _xattrs(fd: int) -> dict[bytes, bytes]:
    """The extended attributes that belong to the image (what `extract` takes)."""
    try:
        names = [os.fsencode(name) for name in os.listxattr(fd)]
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}
    return {name: os.getxattr(fd, name) for name in names if whiteouts.is_image_xattr(name)}


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


def _zeros(size: int) -> Iterator[bytes]:
    while size:
        yield bytes(min(size, CHUNK))
        size -= min(size, CHUNK)


def _names(directory: int) -> list[bytes]:
    """The directory's entries in the order of their bytes."""
    with os.scandir(directory) as entries:
        return sorted(os.fsencode(entry.name) for entry in entries)
