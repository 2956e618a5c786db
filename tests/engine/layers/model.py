"""A layer's extraction as a model in memory: what the directory must look like afterwards, or that it is refused."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from dosirak.engine.runtime import privilege

_MAX_LINKS = 40


class Refused(Exception):
    """The archive is refused."""


class Missing(Refused):
    """A path leads nowhere: missing, or through what is no directory."""


@dataclass(eq=False)
class Node:
    """`kind`: file, dir, symlink, fifo, whiteout. `value`: content or target. Hard links are one node twice."""

    kind: str
    value: str = ""
    opaque: bool = False
    entries: dict[str, Node] = field(default_factory=dict)


class Model:
    """A root directory as an image layer's tar fills it."""

    def __init__(self, *, as_layer: bool = True) -> None:
        self.root = Node("dir")
        self.as_layer = as_layer

    def take(self, name: str, kind: str, value: str) -> None:
        parts = clean(name)
        if not parts:
            if kind != "dir":
                raise Refused
            return
        hidden: str | None = None
        if self.as_layer:
            if any(part.startswith(".wh..wh.") and part != ".wh..wh..opq" for part in parts):
                return
            if any(part.startswith(".wh.") for part in parts[:-1]):
                raise Refused
            if parts[-1].startswith(".wh.") and parts[-1] != ".wh..wh..opq":
                hidden = parts[-1][4:]
                if hidden in ("", ".", ".."):
                    raise Refused
        parent = self.directory(parts[:-1])
        if self.as_layer and parts[-1] == ".wh..wh..opq":
            parent.opaque = True
        elif hidden is not None:
            self.hide(parent, hidden)
        else:
            self.make(parent, parts[-1], kind, value)

    def hide(self, parent: Node, name: str) -> None:
        there = parent.entries.setdefault(name, Node("whiteout"))
        if there.kind == "dir":
            there.opaque = True

    def make(self, parent: Node, name: str, kind: str, value: str) -> None:
        there = parent.entries.get(name)
        if kind == "dir":
            if there is None or there.kind != "dir":
                parent.entries[name] = Node("dir", opaque=there is not None and there.kind == "whiteout")
        elif kind == "link":
            target = clean(value)
            if not target:
                raise Refused
            holder = self.walk(target[:-1])
            found = holder.entries.get(target[-1])
            if found is None or found.kind in ("dir", "whiteout") or (holder is parent and target[-1] == name):
                raise Refused
            parent.entries[name] = found
        else:
            if kind == "symlink" and not value:
                raise Refused
            parent.entries[name] = Node(kind, value)

    def directory(self, parts: list[str]) -> Node:
        """The parent, made where missing."""
        known = len(parts)
        while True:
            try:
                here = self.walk(parts[:known])
                break
            except Missing:
                known -= 1
        for name in parts[known:]:
            there = here.entries.get(name)
            if there is not None and there.kind != "whiteout":
                raise Refused
            here.entries[name] = Node("dir", opaque=there is not None)
            here = here.entries[name]
        return here

    def walk(self, parts: list[str]) -> Node:
        """A directory by its path, as the kernel finds it with the root as "/"."""
        stack = [self.root]
        pending = parts[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(stack) > 1:
                    stack.pop()
                continue
            there = stack[-1].entries.get(part)
            if there is None:
                raise Missing
            if there.kind == "symlink":
                links += 1
                if links > _MAX_LINKS:
                    raise Refused
                if there.value.startswith("/"):
                    stack = [self.root]
                pending += there.value.split("/")[::-1]
            elif there.kind == "dir":
                stack.append(there)
            else:
                raise Missing
        return stack[-1]

    def picture(self) -> dict[str, tuple]:
        """Every path and what is there; files carry the paths that share them."""
        found: dict[str, Node] = {}

        def visit(prefix: str, node: Node) -> None:
            for name, child in node.entries.items():
                found[prefix + name] = child
                if child.kind == "dir":
                    visit(f"{prefix}{name}/", child)

        visit("", self.root)
        shared: dict[int, list[str]] = {}
        for path, node in found.items():
            shared.setdefault(id(node), []).append(path)
        return {"": ("dir", "", self.root.opaque, ())} | {
            path: (node.kind, node.value, node.opaque, tuple(sorted(shared[id(node)]))) for path, node in found.items()
        }


def clean(name: str) -> list[str]:
    """An entry's name as Docker cleans it."""
    if not name:
        raise Refused
    kept: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not kept:
                raise Refused
            kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return kept


def picture_of(root: Path) -> dict[str, tuple]:
    """The same picture of a real directory."""
    found: dict[str, tuple[str, str, bool, int]] = {"": ("dir", "", _opaque(root), 0)}
    for here, directories, files in os.walk(root):
        for name in directories + files:
            path = Path(here, name)
            status = path.lstat()
            kind, value = _look(path, status)
            opaque = kind == "dir" and _opaque(path)
            found[str(path.relative_to(root))] = (kind, value, opaque, status.st_ino)
    shared: dict[int, list[str]] = {}
    for path, (*_, inode) in found.items():
        shared.setdefault(inode, []).append(path)
    return {
        path: (kind, value, opaque, tuple(sorted(shared[inode])) if path else ())
        for path, (kind, value, opaque, inode) in found.items()
    }


def _look(path: Path, status: os.stat_result) -> tuple[str, str]:
    if stat.S_ISLNK(status.st_mode):
        return "symlink", os.readlink(path)
    if stat.S_ISDIR(status.st_mode):
        return "dir", ""
    if stat.S_ISFIFO(status.st_mode):
        return "fifo", ""
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return "whiteout", ""
    return "file", path.read_text()


def _opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, privilege.here().opaque, follow_symlinks=False) == b"y"
    except OSError:
        return False
