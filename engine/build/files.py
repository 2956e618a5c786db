"""The files a COPY or ADD selects from a context or another file system, with their checksum. Blocking.

Everything is opened from the source's root descriptor and stays inside it. What a path names is followed (COPY of a
link copies what it points at); below a directory nothing is followed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dosirak.engine.build.digests import Digests, read_xattrs
from dosirak.engine.build.entries import READ_DIR, Entry, Reader, Source, Tree
from dosirak.engine.build.ignore import Ignore, State
from dosirak.engine.build.paths import clean, has_wildcards, inside, shown
from dosirak.engine.build.pattern import match_name
from dosirak.engine.build.threads import Stop
from dosirak.engine.build.walk import walk
from dosirak.engine.errors import NotFound
from dosirak.engine.runtime import inroot


@dataclass(frozen=True, slots=True)
class Selection:
    """The files selected and their checksum (64 hex digits)."""

    trees: list[Tree]
    checksum: str


def select(
    source: Source, paths: Sequence[str], digests: Digests, stop: Stop, *, parents: bool = False, excludes: Ignore
) -> Selection:
    """Finds the files that `paths` name and digests them.

    Parameters: `parents` as COPY's flag: where a tree stands under its path (or under what follows "/./" in it);
    `excludes` are COPY's own patterns. Raises NotFound for a path without wildcards that names nothing, OSError.
    """
    run = _Selecting(source, digests, stop, excludes)
    trees = [tree for path in paths for tree in run.trees(path, parents)]
    return Selection(trees, _checksum(trees, source.context))


def select_file(source: Source, name: str, digests: Digests, stop: Stop) -> Selection:
    """One file by its name, which is no pattern. Raises NotFound, OSError."""
    tree = _Selecting(source, digests, stop, Ignore()).tree(name, must_exist=True)
    trees = [tree] if tree is not None else []
    return Selection(trees, _checksum(trees, source.context))


class _Selecting:
    def __init__(self, source: Source, digests: Digests, stop: Stop, excludes: Ignore) -> None:
        self._source = source
        self._reader = Reader(source, digests, stop)
        self._stop = stop
        self._excludes = excludes
        self._prefix = _place(source.root) if source.context else ""

    def trees(self, path: str, parents: bool) -> Iterator[Tree]:
        pivot, found, below = path.partition("/./") if parents else ("", "", "")
        start = len(inside(pivot).split("/")) if found and inside(pivot) else 0
        whole = inside(f"{pivot}/{below}" if found else path)
        for selected in self._matching(whole) if has_wildcards(whole) else [whole]:
            tree = self.tree(selected, must_exist=not has_wildcards(whole))
            if tree is None:
                continue
            if parents:
                self._stand_under_path(tree, selected, start)
            yield tree

    def _matching(self, pattern: str) -> list[str]:
        """The paths that match, in order; below a match nothing else is looked for."""
        parts = pattern.split("/")
        first = next(index for index, part in enumerate(parts) if has_wildcards(part))
        match = match_name("/".join(parts[first:]))
        depth = len(parts) - first
        matches: list[str] = []
        waiting = [("/".join(parts[:first]), 0)]
        while waiting:
            directory, level = waiting.pop()
            self._stop.check()
            names = self._names(directory)
            inner = []
            for name, is_dir in names:
                below = "/".join([*directory.split("/")[first:], name]) if level else name
                path = f"{directory}/{name}" if directory else name
                if match(below):
                    matches.append(path)
                elif is_dir and level + 1 < depth:
                    inner.append((path, level + 1))
            waiting += reversed(inner)
        return sorted(matches)

    def _names(self, directory: str) -> list[tuple[str, bool]]:
        try:
            fd = inroot.open_in_root(self._source.root, directory, READ_DIR)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            with os.scandir(fd) as found:
                return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
        finally:
            os.close(fd)

    def tree(self, path: str, must_exist: bool) -> Tree | None:
        """The tree at `path`; None when it is left out, or gone and allowed to be."""
        try:
            return self._existing_tree(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            if not must_exist:
                return None
            where = "file not found in build context or excluded by .dockerignore: " if self._source.context else ""
            raise NotFound(f"{where}stat {shown(path)}: file does not exist") from error

    def _existing_tree(self, path: str) -> Tree | None:
        fd = inroot.open_in_root(self._source.root, path, os.O_PATH)
        try:
            excluded, state, real = self._ignored(path, fd)
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                if excluded and not self._source.ignore.may_include_below(real):
                    raise FileNotFoundError
                tree = Tree(path, path.rpartition("/")[2], None, mtime_ns=status.st_mtime_ns)
                tree.entries = walk(self._reader, self._excludes, fd, real, state)
                return tree
            name = path.rpartition("/")[2]
            if excluded:
                raise FileNotFoundError
            if self._excludes.excludes(name):
                return None
            return Tree(path, name, self._reader.entry("", self._source.root, path, status))
        finally:
            os.close(fd)

    def _ignored(self, path: str, fd: int) -> tuple[bool, State | None, str]:
        """Whether the path, or what it leads to, is left out of the context; the walk's state; the real path."""
        ignore = self._source.ignore
        if not ignore or not path:
            return False, None, path
        real = _place(fd).removeprefix(self._prefix).lstrip("/")
        excluded, state = False, None
        parts = real.split("/") if real else []
        for end in range(1, len(parts) + 1):
            excluded, state = ignore.step("/".join(parts[:end]), state)
        return excluded or (real != path and ignore.excludes(clean(path))), state, real

    def _stand_under_path(self, tree: Tree, path: str, start: int) -> None:
        """For --parents: the directories above the tree come with it, from part `start` of the path on."""
        parts = path.split("/")
        last = len(parts) if tree.top is None else len(parts) - 1
        for end in range(start + 1, last + 1):
            fd = inroot.open_in_root(self._source.root, "/".join(parts[:end]), READ_DIR)
            try:
                tree.above.append(Entry("/".join(parts[start:end]), os.fstat(fd), xattrs=read_xattrs(fd)))
            finally:
                os.close(fd)


def _place(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def _checksum(trees: list[Tree], context: bool) -> str:
    """Names, kinds, modes, owners and contents; never times."""
    total = hashlib.sha256()
    for tree in trees:
        _add(total, os.fsencode(f"{'directory' if tree.top is None else 'file'} {tree.name}"))
        for entry in tree.above:
            _add(total, b"above " + _description(entry, context))
        for entry in tree.entries if tree.top is None else [tree.top]:
            _add(total, _description(entry, context))
    return total.hexdigest()


def _description(entry: Entry, context: bool) -> bytes:
    """An entry in bytes, no two different ones alike: paths and links have no NUL, the rest has its length in front."""
    status = entry.stat
    owner = "" if context else f"{status.st_uid}:{status.st_gid}"
    device = status.st_rdev if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode) else 0
    text = os.fsencode(f"{entry.path}\0{entry.target}\0{status.st_mode:o} {owner} {device}\0")
    if not entry.xattrs:
        return text + entry.digest
    xattrs = (b"%b\0%d:%b" % (os.fsencode(name), len(value), value) for name, value in entry.xattrs)
    return b"".join([text, entry.digest, *xattrs])


def _add(total: hashlib._Hash, record: bytes) -> None:
    total.update(b"%d:%b" % (len(record), record))
