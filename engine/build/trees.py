"""Trees of files copied: one file to its place, or a directory's contents merged into what is there. Blocking."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from dosirak.engine.build.entries import BELOW, Entry, Source, Tree
from dosirak.engine.build.paths import shown
from dosirak.engine.build.writing import Writer
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime import inroot
from dosirak.engine.runtime import syscalls as sys

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def copy_tree(writer: Writer, source: Source, tree: Tree, destination: str) -> None:
    """Copies one tree; `destination` is absolute, a slash at its end makes it a directory. Raises as `Writer`."""
    if tree.above:
        destination = _make_above(writer, tree, destination)
    if tree.top is not None:
        with writer.place(tree.name, destination) as (directory, name):
            writer.copy_entry(directory, name, tree.top, source.root, tree.path, in_root=True)
        return
    top = writer.open_directory(destination)
    try:
        _Copying(writer, source, tree, top).run()
    finally:
        os.close(top)


def _make_above(writer: Writer, tree: Tree, destination: str) -> str:
    """The directories over a tree (--parents), with their own modes and owners; where the tree itself goes."""
    base = destination.rstrip("/")
    for entry in tree.above:
        exists = writer.is_directory(f"{base}/{entry.path}")
        fd = writer.open_directory(f"{base}/{entry.path}")
        try:
            if not exists:
                writer.set_metadata(fd, entry)
        finally:
            os.close(fd)
    return f"{base}/{tree.above[-1].path}/"


class _Copying:
    """One directory's entries into another: directories open one at a time on either side."""

    def __init__(self, writer: Writer, source: Source, tree: Tree, target: int) -> None:
        self._writer = writer
        self._source = source
        self._tree = tree
        self._target = target
        self._links: dict[tuple[int, int], str] = {}

    def run(self) -> None:
        top = inroot.open_in_root(self._source.root, self._tree.path, _OPEN_DIR)
        directories: list[Entry] = []
        try:
            for path, entries in _by_directory(self._tree.entries):
                source = sys.openat2(top, path or ".", _OPEN_DIR | os.O_NOFOLLOW, resolve=BELOW)
                target = sys.openat2(self._target, path or ".", _OPEN_DIR | os.O_NOFOLLOW, resolve=BELOW)
                try:
                    for entry in entries:
                        if stat.S_ISDIR(entry.stat.st_mode):
                            self._make(target, entry)
                            directories.append(entry)
                        else:
                            self._copy(source, target, entry)
                finally:
                    os.close(source)
                    os.close(target)
            self._finish(directories)
        finally:
            os.close(top)
        os.utime(self._target, ns=(self._tree.mtime_ns, self._tree.mtime_ns))

    def _make(self, target: int, entry: Entry) -> None:
        name = entry.path.rpartition("/")[2]
        try:
            os.mkdir(name, 0o700, dir_fd=target)
        except FileExistsError:
            status = os.stat(name, dir_fd=target, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                raise InvalidRequest(f"cannot copy to non-directory: {shown(entry.path)}") from None

    def _copy(self, source: int, target: int, entry: Entry) -> None:
        name = entry.path.rpartition("/")[2]
        identity = (entry.stat.st_dev, entry.stat.st_ino)
        first = self._links.get(identity) if entry.stat.st_nlink > 1 else None
        if first is not None:
            self._writer.clear(target, name)
            os.link(first, name, src_dir_fd=self._target, dst_dir_fd=target, follow_symlinks=False)
            return
        self._writer.copy_entry(target, name, entry, source, name)
        if entry.stat.st_nlink > 1:
            self._links[identity] = entry.path

    def _finish(self, directories: list[Entry]) -> None:
        """Modes and times of directories come last: a mode may forbid writing, writing changes a time."""
        for entry in reversed(directories):
            fd = sys.openat2(self._target, entry.path, _OPEN_DIR | os.O_NOFOLLOW, resolve=BELOW)
            try:
                self._writer.set_metadata(fd, entry)
            finally:
                os.close(fd)


def _by_directory(entries: Iterable[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """Runs of entries that stand in one directory."""
    current, run = "", list[Entry]()
    for entry in entries:
        directory = entry.path.rpartition("/")[0]
        if directory != current:
            if run:
                yield current, run
            current, run = directory, []
        run.append(entry)
    if run:
        yield current, run
