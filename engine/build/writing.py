"""Writing into a step's file system: by descriptors in its merged root, never through what lies there. Blocking.

Semantics: BuildKit's file operations (`cp -a`, a directory's contents merged into what is there).
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dosirak.engine.build.entries import BELOW, Entry, open_file
from dosirak.engine.build.modes import Mode
from dosirak.engine.build.paths import shown
from dosirak.engine.build.threads import Stop
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime import inroot, owners
from dosirak.engine.runtime import syscalls as sys

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 26
_SMALL = 1 << 16
_MOST_LINKS = 40
_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Rules:
    """What becomes of owners and modes: `owner` None keeps the source's, `mode` None too."""

    owner: tuple[int, int] | None = (0, 0)
    mode: Mode | None = None

    @property
    def made(self) -> Rules:
        """The rules for directories that have no source: root's unless the owner is given."""
        return Rules(self.owner or (0, 0), self.mode)

    def changed(self, mode: int, *, directory: bool) -> int:
        """The mode that a file with `mode` gets."""
        return stat.S_IMODE(mode) if self.mode is None else self.mode(mode, directory)


class Writer:
    """Writes below `root`, the descriptor of a step's merged file system.

    All methods raise InvalidRequest when what is there forbids it, OSError when the host does, Stopped.
    """

    def __init__(self, root: int, rules: Rules, stop: Stop) -> None:
        self._root = root
        self._rules = rules
        self._stop = stop

    def write_file(self, name: str, content: bytes, destination: str) -> None:
        """A here-document's file, mode 0644 unless the rules say."""
        with self.place(name, destination) as (directory, final):
            fd = self.create(directory, final)
            try:
                _write_all(fd, content)
                owners.give(fd, *self._rules.made.owner or (0, 0))
                os.fchmod(fd, self._rules.changed(0o644, directory=False))
            finally:
                os.close(fd)

    @contextmanager
    def place(self, name: str, destination: str) -> Iterator[tuple[int, str]]:
        """Where a single file goes: its directory's descriptor (made if missing) and its name there."""
        target = destination
        if destination.endswith("/") or self.is_directory(destination):
            target = f"{destination.rstrip('/')}/{name}"
        parent, _, final = self._follow(target).rpartition("/")
        directory = self.open_directory(parent or "/")
        try:
            yield directory, final
        finally:
            os.close(directory)

    def is_directory(self, path: str) -> bool:
        """Whether `path` leads to a directory."""
        try:
            os.close(inroot.open_in_root(self._root, path, os.O_PATH | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def _follow(self, path: str) -> str:
        """The path behind the symbolic links that `path` itself may be: a copy replaces what a link points at."""
        for _ in range(_MOST_LINKS):
            head, _, name = path.rpartition("/")
            try:
                directory, _ = inroot.open_parent(self._root, path)
            except OSError:
                return path
            try:
                target = os.readlink(name, dir_fd=directory)
            except OSError:
                return path
            finally:
                os.close(directory)
            path = target if target.startswith("/") else f"{head}/{target}"
            path = path.rstrip("/") or "/"
        raise InvalidRequest(f"{shown(path)}: too many symbolic links")

    def open_directory(self, path: str) -> int:
        """Opens a directory inside the root, making what is missing, also where a link points at nothing yet.

        Directories made now get the rules' owner, and mode 0755 unless the rules say. Returns a descriptor to read.
        """
        waiting = [part for part in path.split("/") if part][::-1]
        made = ""
        links = 0
        while waiting:
            self._stop.check()
            part = waiting.pop()
            following = f"{made}/{part}"
            try:
                os.close(inroot.open_in_root(self._root, following, os.O_PATH | os.O_DIRECTORY))
                made = following
                continue
            except NotADirectoryError as error:
                raise InvalidRequest(f"mkdir {shown(following)}: not a directory") from error
            except FileNotFoundError:
                pass
            target = self._make_or_read(made or "/", part)
            if target is None:
                made = following
                continue
            links += 1
            if links > _MOST_LINKS:
                raise InvalidRequest(f"{shown(path)}: too many symbolic links")
            made = "" if target.startswith("/") else made
            waiting += [part for part in target.split("/") if part][::-1]
        return inroot.open_in_root(self._root, made or "/", _OPEN_DIR)

    def _make_or_read(self, parent: str, name: str) -> str | None:
        """Makes a directory; when a dangling link has that name, the link's text is returned instead."""
        fd = inroot.open_in_root(self._root, parent, _OPEN_DIR)
        try:
            if name in (".", ".."):
                raise InvalidRequest(f"{shown(parent)}/{name}: no such directory")
            try:
                os.mkdir(name, 0o700, dir_fd=fd)
            except FileExistsError:
                return os.readlink(name, dir_fd=fd)
            made = sys.openat2(fd, name, _OPEN_DIR | os.O_NOFOLLOW, resolve=BELOW)
            try:
                owners.give(made, *self._rules.made.owner or (0, 0))
                os.fchmod(made, self._rules.changed(0o755, directory=True))
            finally:
                os.close(made)
        finally:
            os.close(fd)
        return None

    def create(self, directory: int, name: str) -> int:
        """A new, empty file in place of whatever but a directory has the name."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(name, flags, 0o600, dir_fd=directory)
        except FileExistsError:
            self.clear(directory, name)
            return os.open(name, flags, 0o600, dir_fd=directory)

    def clear(self, directory: int, name: str) -> None:
        """Removes what has the name, unless it is a directory."""
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        except IsADirectoryError as error:
            raise InvalidRequest(f"cannot replace to directory {shown(name)} with file") from error

    def copy_entry(
        self, directory: int, name: str, entry: Entry, source: int, path: str, *, in_root: bool = False
    ) -> None:
        """Copies one entry that is no directory from `path` of the directory `source` to `name` of `directory`."""
        self._stop.check()
        mode = entry.stat.st_mode
        if stat.S_ISREG(mode):
            self._copy_file(directory, name, entry, open_file(source, path, in_root=in_root))
            return
        self.clear(directory, name)
        if stat.S_ISLNK(mode):
            os.symlink(entry.target, name, dir_fd=directory)
        else:
            try:
                os.mknod(name, stat.S_IFMT(mode) | 0o600, entry.stat.st_rdev, dir_fd=directory)
            except PermissionError:
                if owners.lacks_device(mode):
                    return
                raise
        uid, gid = self._owner(entry)
        owners.give(name, uid, gid, dir_fd=directory, follow_symlinks=False)
        if not stat.S_ISLNK(mode):
            # just made here, so it is no link; chmod(2) has no flag to say so
            os.chmod(name, self._mode(entry), dir_fd=directory)
        times = (entry.stat.st_mtime_ns, entry.stat.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)

    def _copy_file(self, directory: int, name: str, entry: Entry, source: int) -> None:
        try:
            _check_unchanged(source, entry, name)
            target = self.create(directory, name)
            try:
                _copy_content(source, target, entry.stat.st_size, self._stop)
                self.set_metadata(target, entry)
            finally:
                os.close(target)
            _check_unchanged(source, entry, name)
        finally:
            os.close(source)

    def set_metadata(self, fd: int, entry: Entry) -> None:
        """Owner, then mode (chown clears setuid), then attributes (it clears capabilities too), then times."""
        owners.give(fd, *self._owner(entry))
        os.fchmod(fd, self._mode(entry))
        for name, value in entry.xattrs:
            os.setxattr(fd, name, value)
        os.utime(fd, ns=(entry.stat.st_mtime_ns, entry.stat.st_mtime_ns))

    def _owner(self, entry: Entry) -> tuple[int, int]:
        return self._rules.owner or (entry.stat.st_uid, entry.stat.st_gid)

    def _mode(self, entry: Entry) -> int:
        mode = entry.stat.st_mode
        return self._rules.changed(mode, directory=stat.S_ISDIR(mode))


def _check_unchanged(fd: int, entry: Entry, name: str) -> None:
    """What is copied must be what was digested: a context on disk may be edited while it is built from."""
    now, then = os.fstat(fd), entry.stat
    same = now.st_ino == then.st_ino and now.st_size == then.st_size
    if not (same and now.st_mtime_ns == then.st_mtime_ns and now.st_ctime_ns == then.st_ctime_ns):
        raise InvalidRequest(f"{shown(name)} changed while it was being copied; build again")


def _copy_content(source: int, target: int, size: int, stop: Stop) -> None:
    if size <= _SMALL:
        _write_all(target, os.read(source, _SMALL))
        return
    while True:
        stop.check()
        try:
            copied = os.copy_file_range(source, target, _PIECE)
        except OSError:  # two file systems, or one that can't
            copied = os.sendfile(target, source, None, _PIECE)
        if copied == 0:
            return


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
