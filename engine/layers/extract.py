"""A tar's entries into a directory we do not trust, by descriptors only.

Every parent directory is opened by openat2 inside the root (`inroot`); everything else happens to a single name in
that opened directory, without following it: O_EXCL|O_NOFOLLOW, mkdirat, symlinkat, linkat, mknodat, unlinkat. So links
made by earlier entries, or by a container that works in the same root, lead nowhere but inside it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dosirak.engine.content.disk import host_limits
from dosirak.engine.errors import EngineError, HostLimit
from dosirak.engine.layers import names, tarread
from dosirak.engine.layers import whiteouts as marks
from dosirak.engine.layers.directories import Directories, bounded_times
from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.layers.model import Extracted
from dosirak.engine.layers.names import shown
from dosirak.engine.layers.removal import remove_entry
from dosirak.engine.layers.tarread import Entry, TarReader
from dosirak.engine.runtime import owners

_NODES = {
    tarread.CHAR: stat.S_IFCHR,
    tarread.BLOCKDEV: stat.S_IFBLK,
    tarread.FIFO: stat.S_IFIFO,
}
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# The archive's fault, not the host's: names that no filesystem takes, links to directories, a file as a directory.
_BAD_ENTRY = frozenset(
    {
        errno.E2BIG,
        errno.EEXIST,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMLINK,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.ERANGE,
        errno.EXDEV,
    }
)
_Make = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Into:
    """How an archive goes into a directory that has files already.

    `base`: the directory, by its path inside the root. `owner`: uid and gid that everything gets, None for the
    archive's own; `owners`: what these ids (users' and groups' alike) are here. `keep_kinds`: a directory never takes
    the place of anything else, nor anything else a directory's.
    """

    base: bytes = b""
    owner: tuple[int, int] | None = None
    owners: Callable[[int], int] | None = None
    keep_kinds: bool = False


_ROOT = Into()


def extract(source: BinaryIO, root_fd: int, *, whiteouts: bool, into: Into = _ROOT) -> Extracted:
    """Extracts an uncompressed tar below the directory `root_fd`. Blocking.

    Parameters: `whiteouts`: True for an image layer (".wh." entries become overlay whiteouts), False for any other
    tar (build context, ADD, cp), where such a name is a name like any other. Existing entries are replaced, never
    written through. Raises CorruptArchive for a bad or hostile archive, HostLimit when the disk is full (or would be:
    sizes are added up before they are written), EngineError where `into.keep_kinds` forbids it; what was extracted
    until then stays, so extract into a directory you can throw away. Reads no further than the archive's end.
    """
    with (
        Directories(root_fd, as_layer=whiteouts, base=into.base) as directories,
        host_limits("extracting an archive"),
    ):
        return _Extractor(TarReader(source), directories, whiteouts, into).run()


class _Extractor:
    def __init__(self, reader: TarReader, directories: Directories, as_layer: bool, into: Into) -> None:
        self._reader = reader
        self._directories = directories
        self._as_layer = as_layer
        self._into = into
        self._size = 0
        room = os.statvfs(directories.existing(b""))
        self._room = room.f_bavail * room.f_frsize
        # Some filesystems have no inode table to fill (btrfs says 0).
        self._inodes = room.f_favail if room.f_files else 1 << 40

    def run(self) -> Extracted:
        count = 0
        for entry in self._reader:
            count += 1
            if count > self._inodes:
                raise HostLimit("extracting an archive: more entries than the disk has inodes left")
            try:
                self._take(entry)
            except CorruptArchive as error:
                raise CorruptArchive(f"{shown(entry.name)}: {error}") from error
            except owners.NoSuchOwner as error:
                raise HostLimit(f"extracting {shown(entry.name)}: {error}") from error
            except OSError as error:
                if error.errno not in _BAD_ENTRY:
                    raise
                reason = os.strerror(error.errno or 0).lower()
                raise CorruptArchive(f"{shown(entry.name)}: {reason}") from error
        self._directories.set_times()
        return Extracted(self._size, count)

    def _take(self, entry: Entry) -> None:
        self._directories.settle()
        parts = names.parts(entry.name)
        if not parts:
            self._root(entry)
            return
        if self._into.owner is not None:
            entry.uid, entry.gid = self._into.owner
        if self._into.owners is not None:
            entry.uid, entry.gid = self._into.owners(entry.uid), self._into.owners(entry.gid)
        hidden = None
        if self._as_layer and marks.PREFIX in entry.name:
            if marks.is_bookkeeping(parts):
                return
            hidden = marks.hidden_name(parts[-1])
        parent = self._directories.open(b"/".join(parts[:-1]))
        if self._into.keep_kinds:
            self._check_kind(entry, parent, parts)
        if hidden is not None:
            self._hide(parent, parts, hidden)
        elif entry.kind == tarread.DIRECTORY:
            self._directory(entry, parent, parts)
        else:
            self._file(entry, parent, parts[-1])

    def _check_kind(self, entry: Entry, parent: int, parts: list[bytes]) -> None:
        try:
            there = stat.S_ISDIR(os.stat(parts[-1], dir_fd=parent, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return
        if there != (entry.kind == tarread.DIRECTORY):
            base = "/" + self._into.base.decode("utf-8", "backslashreplace").strip("/")
            path = f"{base.rstrip('/')}/{shown(b'/'.join(parts))}"
            kinds = ("directory", "non-directory") if there else ("non-directory", "directory")
            raise EngineError(f'cannot overwrite {kinds[0]} "{path}" with {kinds[1]} "{base}"')

    def _root(self, entry: Entry) -> None:
        if entry.kind != tarread.DIRECTORY:
            raise CorruptArchive("the root can only be a directory")
        if not self._as_layer:
            # A context's or cp's "./" says nothing about the directory it goes to (as in Docker).
            return
        _dress(self._directories.open(b""), entry)
        self._directories.remember_times(b"", entry.mtime)

    def _hide(self, parent: int, parts: list[bytes], name: bytes) -> None:
        """A whiteout applies to lower layers only: what this layer has under the name stays, before or after."""
        if not name:
            marks.make_opaque(parent)
            return
        try:
            marks.make_whiteout(parent, name)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                path = b"/".join([*parts[:-1], name])
                marks.make_opaque(self._directories.make(parent, name, path))

    def _directory(self, entry: Entry, parent: int, parts: list[bytes]) -> None:
        path = b"/".join(parts)
        made = self._directories.make(parent, parts[-1], path)
        _dress(made, entry)
        self._directories.remember_times(path, entry.mtime)

    def _file(self, entry: Entry, parent: int, name: bytes) -> None:
        if entry.kind == tarread.REGULAR:
            self._regular(entry, parent, name)
        elif entry.kind == tarread.LINK:
            self._link(entry, parent, name)
        elif entry.kind == tarread.SYMLINK:
            self._replacing(parent, name, lambda: os.symlink(entry.link, name, dir_fd=parent))
            owners.give(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            os.utime(name, ns=bounded_times(entry.mtime), dir_fd=parent, follow_symlinks=False)
        else:
            self._node(entry, parent, name)

    def _regular(self, entry: Entry, parent: int, name: bytes) -> None:
        self._size += entry.size
        if self._size > self._room:
            raise HostLimit(f"extracting {shown(entry.name)}: no space left on device for {entry.size} bytes")
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._replace(parent, name)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            if entry.pieces is None:
                for data in self._reader.data():
                    _write(fd, data)
            else:
                self._write_sparse(fd, entry)
            _dress(fd, entry)
            os.utime(fd, ns=bounded_times(entry.mtime))
        finally:
            os.close(fd)

    def _write_sparse(self, fd: int, entry: Entry) -> None:
        pieces = iter(entry.pieces or ())
        offset = left = 0
        for data in self._reader.data():
            view = memoryview(data)
            while view:
                while not left:
                    offset, left = next(pieces)
                written = os.pwrite(fd, view[:left], offset)
                view, offset, left = view[written:], offset + written, left - written
        os.truncate(fd, entry.size)

    def _link(self, entry: Entry, parent: int, name: bytes) -> None:
        """A hard link to a file of this archive: its directory found inside the root, the file itself not followed."""
        target = names.parts(entry.link)
        if not target:
            raise CorruptArchive("hard link to the root")
        source = self._directories.existing(b"/".join(target[:-1]))
        status = os.stat(target[-1], dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) or (self._as_layer and marks.is_whiteout(status)):
            raise CorruptArchive(f"hard link to {shown(entry.link)}, which is no file of the archive")
        if target[-1] == name and os.path.sameopenfile(source, parent):
            raise CorruptArchive("hard link to itself")

        def link() -> None:
            os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)

        self._replacing(parent, name, link)

    def _node(self, entry: Entry, parent: int, name: bytes) -> None:
        device = os.makedev(entry.major, entry.minor)
        if entry.kind == tarread.CHAR and device == 0:
            # Overlayfs would take it for a whiteout: only ".wh." may make those.
            raise CorruptArchive("character device 0:0")
        mode = _NODES[entry.kind] | 0o600
        try:
            self._replacing(parent, name, lambda: os.mknod(name, mode, device, dir_fd=parent))
        except PermissionError:
            if owners.lacks_device(mode):
                return
            raise
        owners.give(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                raise CorruptArchive("replaced while it was made")
            # fchmod refuses O_PATH descriptors; through /proc it is the opened inode, whatever its name is now.
            Path(f"/proc/self/fd/{fd}").chmod(entry.mode)
        finally:
            os.close(fd)
        os.utime(name, ns=bounded_times(entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _replacing(self, parent: int, name: bytes, make: _Make) -> None:
        try:
            make()
        except FileExistsError:
            self._replace(parent, name)
            make()

    def _replace(self, parent: int, name: bytes) -> None:
        if remove_entry(parent, name):
            # A directory or a symlink is gone: paths through it lead elsewhere now.
            self._directories.forget()


def _dress(fd: int, entry: Entry) -> None:
    """Owner, mode, attributes, in this order: chown clears setuid bits and file capabilities."""
    owners.give(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
    for key, value in entry.xattrs.items():
        if marks.is_image_xattr(key):
            try:
                os.setxattr(fd, key, value)
            except OSError as error:
                # The filesystem has none of these, or the user namespace may not set them: as Docker, go on without.
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise


def _write(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
