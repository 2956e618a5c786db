"""A directory into a tar: the same directory gives the same bytes.

A directory's entries come in the order of their names, before those of its subdirectories; times are cut to whole
seconds, as Docker does. Read by descriptors, following nothing. For a layer, overlayfs' whiteouts become ".wh." names
again. What vanishes while it is packed (a running container's files) is left out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from dosirak.engine.layers import tarread, tarwrite, whiteouts
from dosirak.engine.layers.tarread import CHUNK
from dosirak.engine.runtime.inroot import open_in_root
from dosirak.engine.runtime.syscalls import RESOLVE_NO_SYMLINKS

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
_SMALL = 1 << 15
_KINDS = {
    stat.S_IFREG: tarread.REGULAR,
    stat.S_IFLNK: tarread.SYMLINK,
    stat.S_IFCHR: tarread.CHAR,
    stat.S_IFBLK: tarread.BLOCKDEV,
    stat.S_IFDIR: tarread.DIRECTORY,
    stat.S_IFIFO: tarread.FIFO,
}


# Gone, or something else by now: what a directory listing said a moment ago need not be true any more.
_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE})


class Body(NamedTuple):
    """A regular file's content on its way: `size` bytes from the beginning of `fd`, which is open until the next piece.

    A file that has shrunk meanwhile is filled up with zeros: its header has promised `size`.
    """

    fd: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        """The content. Raises OSError."""
        left = self.size
        while left and (data := os.pread(self.fd, min(left, CHUNK), self.size - left)):
            left -= len(data)
            yield data
        while left:
            yield bytes(min(left, CHUNK))
            left -= min(left, CHUNK)


Piece = bytes | Body
"""What a tar is made of: headers and padding as bytes, the files' content as what a sender may copy by itself."""

Hidden = Callable[[bytes, os.stat_result], bool]
"""Whether an entry (its path below the root, what lstat says of it) stays out of the tar, with all that is below."""


def nothing_hidden(path: bytes, status: os.stat_result) -> bool:
    """Everything goes into the tar."""
    return False


class Packer:
    """Iterates over the pieces of a directory's tar; `size` is then the bytes of its regular files.

    Parameters: `root_fd`: the directory (a diff directory, or the root of an overlay mount). `as_layer`: whiteouts and
    opaque directories are written as image layers have them, and names that would read as such are left out. `room`:
    bytes that the files may have together (a sparse file is as large as it says). `root_name`: the name of the root's
    own entry, None for no such entry; `prefix`: what all other names begin with; `owners`: what to call users and
    groups (None: by their ids). Raises OSError, ENOSPC beyond `room`.
    """

    def __init__(
        self,
        root_fd: int,
        *,
        as_layer: bool,
        room: int | None = None,
        root_name: bytes | None = b"./",
        prefix: bytes = b"",
        hidden: Hidden = nothing_hidden,
        owners: Callable[[int], int] | None = None,
    ) -> None:
        self.size = 0
        self._root_fd = root_fd
        self._as_layer = as_layer
        self._room = room
        self._root_name = root_name
        self._prefix = prefix
        self._hidden = hidden
        self._owners = owners
        self._linked: dict[tuple[int, int], bytes] = {}

    def __iter__(self) -> Iterator[bytes]:
        return joined(unfolded(self.pieces()))

    def pieces(self) -> Iterator[Piece]:
        """The same tar, with the files' content left to whoever sends it on."""
        # The descriptor given may be an O_PATH one (a detached mount).
        root = open_in_root(self._root_fd, b".", _DIRECTORY)
        try:
            if self._root_name is not None:
                yield _header(self._root_name, os.fstat(root), tarread.DIRECTORY, _xattrs(root), owners=self._owners)
        finally:
            os.close(root)
        # Each directory is opened anew by its path: with one descriptor a level, a deep tree would exhaust them.
        pending = [b""]
        while pending:
            path = pending.pop()
            try:
                directory = open_in_root(self._root_fd, path, _DIRECTORY, resolve=RESOLVE_NO_SYMLINKS)
            except OSError as error:
                if path and error.errno in _VANISHED:
                    continue
                raise
            try:
                subdirectories: list[bytes] = []
                yield from self._directory(directory, path, subdirectories)
            finally:
                os.close(directory)
            pending += reversed(subdirectories)
        yield tarwrite.END

    def file(self, directory: int, name: bytes, entry_name: bytes) -> Iterator[Piece]:
        """A whole tar with one entry that is no directory: `name` in the opened `directory`, as `entry_name`."""
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            yield from self._entry(directory, name, entry_name, status)
        except OSError as error:
            if error.errno not in _VANISHED:
                raise
        yield tarwrite.END

    def _directory(self, directory: int, path: bytes, subdirectories: list[bytes]) -> Iterator[Piece]:
        if self._as_layer and whiteouts.is_opaque(directory):
            name = self._prefix + _join(path, whiteouts.OPAQUE_NAME)
            yield tarwrite.header(name, tarread.REGULAR, mode=0o600)
        for name in _names(directory):
            below = _join(path, name)
            try:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if self._hidden(below, status):
                    continue
                yield from self._entry(directory, name, self._prefix + below, status)
            except OSError as error:
                if error.errno not in _VANISHED:
                    raise
                continue
            if stat.S_ISDIR(status.st_mode):
                subdirectories.append(below)

    def _entry(self, directory: int, name: bytes, path: bytes, status: os.stat_result) -> Iterator[Piece]:
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
        links = status.st_nlink > 1 and kind != tarread.DIRECTORY
        if links and (first := self._linked.get((status.st_dev, status.st_ino))) is not None:
            yield _header(path, status, tarread.LINK, link=first, owners=self._owners)
            return
        if kind == tarread.REGULAR:
            yield from self._file(directory, name, path)
        elif kind == tarread.DIRECTORY:
            fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                yield _header(path + b"/", status, kind, _xattrs(fd), owners=self._owners)
            finally:
                os.close(fd)
        else:
            link = _read_link(directory, name) if kind == tarread.SYMLINK else b""
            yield _header(path, status, kind, link=link, owners=self._owners)
        if links:
            self._linked[status.st_dev, status.st_ino] = path

    def _file(self, directory: int, name: bytes, path: bytes) -> Iterator[Piece]:
        fd = os.open(name, _FILE, dir_fd=directory)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "changed while it was packed", os.fsdecode(path))
            self.size += status.st_size
            if self._room is not None and self.size > self._room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))
            size = status.st_size
            header = _header(path, status, tarread.REGULAR, _xattrs(fd), size=size, owners=self._owners)
            if size > _SMALL:
                yield header
                yield Body(fd, size)
                yield tarwrite.padding(size)
            else:
                # One piece: most files of most trees are small, and each piece has its price.
                data = os.read(fd, size) if size else b""
                yield header + data + bytes(size - len(data) + -size % tarread.BLOCK)
        finally:
            os.close(fd)


def unfolded(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The same tar, all of it as bytes."""
    for piece in pieces:
        if isinstance(piece, Body):
            yield from piece.chunks()
        else:
            yield piece


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
    owners: Callable[[int], int] | None = None,
) -> bytes:
    device = status.st_rdev if kind in (tarread.CHAR, tarread.BLOCKDEV) else 0
    return tarwrite.header(
        name,
        kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=owners(status.st_uid) if owners else status.st_uid,
        gid=owners(status.st_gid) if owners else status.st_gid,
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


def _read_link(directory: int, name: bytes) -> bytes:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise FileNotFoundError(errno.ENOENT, "is no symlink any more", os.fsdecode(name)) from error


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


def _names(directory: int) -> list[bytes]:
    """The directory's entries in the order of their bytes."""
    with os.scandir(directory) as entries:
        return sorted(os.fsencode(entry.name) for entry in entries)
