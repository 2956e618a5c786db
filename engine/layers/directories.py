"""The directories of a root being written to: opened once inside the root, kept open while they are in use."""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType

from dosirak.engine.layers import whiteouts
from dosirak.engine.layers.removal import remove_entry
from dosirak.engine.runtime.inroot import open_in_root

_OPEN = os.O_RDONLY | os.O_DIRECTORY
_KEPT = 64
# Times that Docker takes for 1970: before it, or beyond what an int64 of nanoseconds holds.
_MAX_TIME = (1 << 63) - 1


class Directories:
    """Descriptors of directories by their path below `base` (cleaned by `names.parts`, joined).

    `base` is a directory inside the root, found anew each time: links below it lead anywhere inside the root.
    A descriptor stays valid until the next `settle`, so within one entry at least the last `_KEPT` are. A path may
    lead through symlinks, which are followed inside the root; `forget` when a symlink or directory was removed.
    """

    def __init__(self, root_fd: int, *, as_layer: bool, base: bytes = b"") -> None:
        self._root_fd = root_fd
        self._base = base.rstrip(b"/") + b"/" if base else b""
        self._as_layer = as_layer
        self._open: dict[bytes, int] = {}
        self._stale: list[int] = []
        self._times: dict[bytes, tuple[int, int]] = {}

    def __enter__(self) -> Directories:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()
        self.settle()

    def settle(self) -> None:
        """Closes what is not kept any more."""
        if self._stale:
            for fd in self._stale:
                os.close(fd)
            self._stale.clear()

    def forget(self) -> None:
        """Paths may lead elsewhere now: nothing of what is open is used for the next path."""
        self._stale += self._open.values()
        self._open.clear()

    def open(self, path: bytes) -> int:
        """The directory at `path`, made (mode 0755) with its parents if it is not there.

        Raises OSError: ENOTDIR where something else is in the way (in a layer, a whiteout is not).
        """
        fd = self._open.get(path)
        if fd is not None:
            return fd
        missing: list[bytes] = []
        head = path
        while True:
            try:
                fd = self.existing(head)
                break
            except (FileNotFoundError, NotADirectoryError):
                if not head:
                    raise
                head, _, name = head.rpartition(b"/")
                missing.append(name)
        for name in reversed(missing):
            head = head + b"/" + name if head else name
            fd = self._imply(fd, name, head)
        return fd

    def existing(self, path: bytes) -> int:
        """The directory at `path`. Raises OSError."""
        fd = self._open.get(path)
        return fd if fd is not None else self._keep(path, open_in_root(self._root_fd, self._base + path, _OPEN))

    def make(self, parent: int, name: bytes, path: bytes) -> int:
        """The directory `name` of `parent`, in place of anything else of that name; `path` leads to it.

        Raises OSError.
        """
        hiding = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                hiding = self._as_layer and whiteouts.is_whiteout(status)
                if remove_entry(parent, name):
                    self.forget()
                os.mkdir(name, 0o700, dir_fd=parent)
        return self._enter(parent, name, path, hiding)

    def remember_times(self, path: bytes, mtime: int) -> None:
        """The directory at `path` gets this modification time (ns) in the end: until then, entries go into it."""
        self._times.pop(path, None)
        self._times[path] = (os.fstat(self.existing(path)).st_ino, mtime)

    def set_times(self) -> None:
        """Sets the remembered times, of directories that are still there."""
        for path, (inode, mtime) in self._times.items():
            self.settle()
            try:
                fd = self.existing(path)
            except OSError as error:
                # Something else of that name came later, perhaps a symlink that goes round.
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
                continue
            if os.fstat(fd).st_ino == inode:
                os.utime(fd, ns=bounded_times(mtime))

    def _imply(self, parent: int, name: bytes, path: bytes) -> int:
        """A directory no entry has named (yet)."""
        hiding = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            hiding = self._as_layer and whiteouts.is_whiteout(status)
            if not hiding:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fsdecode(path)) from None
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
        fd = self._enter(parent, name, path, hiding)
        # mkdir's mode is cut by the umask.
        os.fchmod(fd, 0o755)
        return fd

    def _enter(self, parent: int, name: bytes, path: bytes, hiding: bool) -> int:
        fd = os.open(name, _OPEN | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        if hiding:
            # The layer hides what is below it there, and then has a directory of its own.
            whiteouts.make_opaque(fd)
        return self._keep(path, fd)

    def _keep(self, path: bytes, fd: int) -> int:
        before = self._open.pop(path, None)
        if before is not None:
            self._stale.append(before)
        elif len(self._open) >= _KEPT:
            self._stale.append(self._open.pop(next(iter(self._open))))
        self._open[path] = fd
        return fd


def bounded_times(mtime: int) -> tuple[int, int]:
    """Access and modification time for os.utime, in nanoseconds."""
    bounded = mtime if 0 <= mtime <= _MAX_TIME else 0
    return bounded, bounded
