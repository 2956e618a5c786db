"""The files a COPY or ADD selects from a context or another file system, with their checksum. Blocking.

Everything is opened from the source's root descriptor and stays inside it. What a path names is followed (COPY of a
link copies what it points at); below a directory nothing is followed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dosirak.engine.build.digests import Digests, read_xattrs
from dosirak.engine.build.ignore import Ignore, State
from dosirak.engine.build.paths import clean, has_wildcards, inside, shown
from dosirak.engine.build.pattern import match_name
from dosirak.engine.build.threads import Stop
from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.runtime import inroot
from dosirak.engine.runtime import syscalls as sys

BELOW = sys.RESOLVE_BENEATH | sys.RESOLVE_NO_SYMLINKS | sys.RESOLVE_NO_MAGICLINKS
"""How paths below a tree's top are opened: no link on the way, and none at the end (with O_NOFOLLOW)."""

_READ_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(slots=True)
class Entry:
    """One file: `path` below its tree's top ("" for the top), what stat says, and what it holds.

    `digest`: sha256 of a regular file's content. `target`: a symbolic link's text.
    """

    path: str
    stat: os.stat_result
    digest: bytes = b""
    target: str = ""
    xattrs: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class Tree:
    """What one source path selected.

    `path` in the source's root; `name` is the name it gets in a directory; `top` is None for a directory whose
    entries go straight into the destination, else the one file there is. `entries`: a directory comes before what is
    in it, files of one directory stand together. `above`: for `--parents`, the directories that lead to it.
    """

    path: str
    name: str
    top: Entry | None
    entries: list[Entry] = field(default_factory=list)
    mtime_ns: int = 0
    above: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Source:
    """Where files come from: the root's descriptor; for a context its ignore rules, and everything becomes root's."""

    root: int
    ignore: Ignore = field(default_factory=Ignore)
    context: bool = False


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


class _Selecting:
    def __init__(self, source: Source, digests: Digests, stop: Stop, excludes: Ignore) -> None:
        self._source = source
        self._digests = digests
        self._stop = stop
        self._excludes = excludes
        self._prefix = _place(source.root) if source.context else ""

    def trees(self, path: str, parents: bool) -> Iterator[Tree]:
        pivot, found, below = path.partition("/./") if parents else ("", "", "")
        start = len(inside(pivot).split("/")) if found and inside(pivot) else 0
        whole = inside(f"{pivot}/{below}" if found else path)
        for selected in self._matching(whole) if has_wildcards(whole) else [whole]:
            tree = self._tree(selected, must_exist=not has_wildcards(whole))
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
            fd = inroot.open_in_root(self._source.root, directory, _READ_DIR)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            with os.scandir(fd) as found:
                return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
        finally:
            os.close(fd)

    def _tree(self, path: str, must_exist: bool) -> Tree | None:
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
                tree.entries = _Walk(self, fd, real, state).run()
                return tree
            name = path.rpartition("/")[2]
            if excluded:
                raise FileNotFoundError
            if self._excludes.excludes(name):
                return None
            return Tree(path, name, self._file_entry("", self._source.root, path, status))
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
            fd = inroot.open_in_root(self._source.root, "/".join(parts[:end]), _READ_DIR)
            try:
                tree.above.append(Entry("/".join(parts[start:end]), os.fstat(fd), xattrs=read_xattrs(fd)))
            finally:
                os.close(fd)

    def _file_entry(self, path: str, directory: int, name: str, status: os.stat_result) -> Entry:
        """An entry that is no directory; `name` is opened in `directory`, in root when that is the source's root."""
        self._stop.check()
        entry = Entry(path, status)
        if stat.S_ISREG(status.st_mode):
            content = self._digests.known(status)
            if content is None:
                fd = open_file(directory, name, in_root=directory == self._source.root)
                try:
                    entry.stat = os.fstat(fd)
                    if not stat.S_ISREG(entry.stat.st_mode):
                        raise InvalidRequest(f"{shown(path or name)} changed while it was read; build again")
                    content = self._digests.read(fd, entry.stat, self._stop)
                finally:
                    os.close(fd)
            entry.digest, entry.xattrs = content
        elif stat.S_ISLNK(status.st_mode):
            entry.target = os.readlink(name, dir_fd=directory)
        elif stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            # On overlayfs this is a whiteout: it would hide files of the layers below.
            raise InvalidRequest(f"{shown(path or name)}: a character device 0:0 can't be copied")
        return entry


@dataclass(slots=True)
class _Directory:
    """A directory that the walk still has to read; `kept` once it is among the entries."""

    path: str
    entry: Entry | None
    above: _Directory | None
    ignored: State | None
    excluded: State | None
    kept: bool


class _Walk:
    """One walk below a directory: `top` its descriptor, `real` its path in the context, `state` the ignore state."""

    def __init__(self, selecting: _Selecting, top: int, real: str, state: State | None) -> None:
        self._selecting = selecting
        self._top = top
        self._real = real
        self._entries: list[Entry] = []
        self._waiting = [_Directory("", None, None, state, None, kept=True)]

    def run(self) -> list[Entry]:
        while self._waiting:
            self._read(self._waiting.pop())
        return self._entries

    def _read(self, directory: _Directory) -> None:
        fd = sys.openat2(self._top, directory.path or ".", _READ_DIR | os.O_NOFOLLOW, resolve=BELOW)
        try:
            if directory.entry is not None:
                directory.entry.xattrs = read_xattrs(fd)
            with os.scandir(fd) as found:
                names = sorted(entry.name for entry in found)
            below = [inner for name in names if (inner := self._look_at(directory, fd, name))]
        finally:
            os.close(fd)
        self._waiting += reversed(below)

    def _look_at(self, directory: _Directory, fd: int, name: str) -> _Directory | None:
        """Takes one name of a directory: a file becomes an entry; a directory to read is returned."""
        path = f"{directory.path}/{name}" if directory.path else name
        ignore, excludes = self._selecting._source.ignore, self._selecting._excludes
        ignored = excluded = False
        ignored_state = excluded_state = None
        real = f"{self._real}/{path}" if self._real else path
        if ignore:
            ignored, ignored_state = ignore.step(real, directory.ignored)
        if excludes:
            excluded, excluded_state = excludes.step(path, directory.excluded)
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            if not ignored and not excluded:
                self._keep(directory)
                self._entries.append(self._selecting._file_entry(path, fd, name, status))
            return None
        if (ignored and not ignore.may_include_below(real)) or (excluded and not excludes.may_include_below(path)):
            return None
        inner = _Directory(path, Entry(path, status), directory, ignored_state, excluded_state, kept=False)
        if not ignored and not excluded:
            self._keep(inner)
        return inner

    def _keep(self, directory: _Directory | None) -> None:
        """Puts a directory, and those above it, among the entries, if they are not there: a pattern took back in
        something below a directory that is itself left out."""
        missing = []
        while directory is not None and not directory.kept:
            directory.kept = True
            missing.append(directory.entry)
            directory = directory.above
        self._entries += [entry for entry in reversed(missing) if entry is not None]


def _place(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def open_file(directory: int, name: str, *, in_root: bool) -> int:
    """Opens a regular file to read: in root (links followed inside it), or a name of `directory`, no link."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    if in_root:
        return inroot.open_in_root(directory, name, flags)
    return os.open(name, flags | os.O_NOFOLLOW, dir_fd=directory)


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
