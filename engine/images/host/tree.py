"""A selection of this machine's files, with all that they need to be found and to run."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dosirak.engine.images.host import elf

_MAX_LINKS = 40
# Most of the files; not worth opening to see that they need no libraries.
_NO_PROGRAMS = frozenset({".py", ".pyc"})


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory, by its mode."""

    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Link:
    """A symlink."""

    target: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a file of this machine. `mtime` in nanoseconds."""

    source: Path
    mode: int
    size: int
    mtime: int


@dataclass(frozen=True, slots=True)
class Text:
    """A file of our own."""

    content: str
    mode: int = 0o644


Node = Directory | Link | Copy | Text


class Tree:
    """Paths and what is there. No path leads through a symlink: the parents of each are directories of the tree."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._real: dict[Path, Path] = {}
        self._libraries = elf.Libraries()

    def make(self, path: str, node: Node) -> None:
        """Puts something of our own at an absolute path."""
        self.nodes[str(self._parents(Path(path).parent) / Path(path).name)] = node

    def add(self, path: Path) -> bool:
        """Takes a file of this machine: the links that lead to it, and the libraries it runs with.

        Returns whether there is such a file.
        """
        for _ in range(_MAX_LINKS):
            path = self._parents(path.parent) / path.name
            known = self.nodes.get(str(path))
            if isinstance(known, (Copy, Text, Directory)):
                return True
            try:
                status = path.lstat()
            except OSError:
                return False
            if not stat.S_ISLNK(status.st_mode):
                return self._add_real(path, status)
            target = str(path.readlink())
            self.nodes[str(path)] = Link(target)
            path = path.parent / target
        return False

    def add_tree(self, directory: Path, wanted: Callable[[Path], bool]) -> None:
        """Takes a directory of this machine and all that `wanted` lets through of what is below it."""
        real = Path(os.path.realpath(directory))
        for here, directories, files in os.walk(real):
            directories[:] = sorted(name for name in directories if wanted(Path(here, name)))
            for name in sorted(files):
                if wanted(Path(here, name)):
                    self.add(Path(here, name))

    def fingerprint(self) -> str:
        """A digest of all that is in it; other files, other digest."""
        made = hashlib.sha256()
        for path, node in sorted(self.nodes.items()):
            made.update(f"{path}\0{node}\0".encode("utf-8", "surrogateescape"))
        return made.hexdigest()

    def _add_real(self, path: Path, status: os.stat_result) -> bool:
        if stat.S_ISDIR(status.st_mode):
            self._parents(path)
            return True
        if not stat.S_ISREG(status.st_mode) or not os.access(path, os.R_OK):
            return False
        # No setuid bits: whoever runs these programs in a container is root there, or should not become it.
        mode = stat.S_IMODE(status.st_mode) & 0o755
        self.nodes[str(path)] = Copy(path, mode, status.st_size, status.st_mtime_ns)
        if path.suffix not in _NO_PROGRAMS:
            self._add_needs(path)
        return True

    def _add_needs(self, path: Path) -> None:
        found = elf.read(path)
        if found is None:
            return
        if found.interpreter:
            self.add(Path(found.interpreter))
        for name in found.needed:
            library = self._libraries.find(name, path, found)
            if library is not None:
                self.add(library)

    def _parents(self, directory: Path) -> Path:
        """The directory's real path, with all that leads there put into the tree: as links where they are links."""
        if directory not in self._real:
            self._real[directory] = self._walk(directory)
        return self._real[directory]

    def _walk(self, directory: Path) -> Path:
        pending = [part for part in directory.parts if part != "/"][::-1]
        real = Path("/")
        links = 0
        while pending:
            name = pending.pop()
            if name == "..":
                real = real.parent
                continue
            path = real / name
            known = self.nodes.get(str(path))
            target = known.target if isinstance(known, Link) else None
            if known is None and path.is_symlink() and path.is_dir():
                target = str(path.readlink())
                self.nodes[str(path)] = Link(target)
            if target is None:
                if known is None:
                    self.nodes[str(path)] = Directory()
                real = path
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(f"{directory}: too many levels of symbolic links")
            if target.startswith("/"):
                real = Path("/")
            pending += [part for part in Path(target).parts if part != "/"][::-1]
        return real
