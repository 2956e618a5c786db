"""What each layer of an image does to the files below it, and what of it nobody sees any more.

Reads the unpacked layers, by descriptors, following nothing. Pure reading: the images stay as they are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dosirak.engine.layers import whiteouts
from dosirak.engine.runtime.inroot import open_in_root
from dosirak.engine.runtime.syscalls import RESOLVE_NO_SYMLINKS

_OPEN = os.O_RDONLY | os.O_DIRECTORY
ADDED, CHANGED, DELETED = "A", "C", "D"


class Change(NamedTuple):
    """One path of a layer: `kind` is A, C or D; `size` in bytes (of what is gone, for D); `mode` as stat's, 0 for D."""

    path: bytes
    kind: str
    size: int
    mode: int


@dataclass(slots=True)
class LayerFiles:
    """A layer's changes, in the order of its tree; `hidden`: bytes of its files that upper layers hide or delete."""

    changes: list[Change] = field(default_factory=list)
    size: int = 0
    hidden: int = 0

    def count(self, kind: str) -> int:
        """How many files (directories are none) were added, changed or deleted."""
        return sum(change.kind == kind and not stat.S_ISDIR(change.mode) for change in self.changes)


class _Node:
    """A path as seen from above so far. `below` is None for anything but a directory."""

    __slots__ = ("below", "layer", "size")

    def __init__(self, layer: int, size: int, below: dict[bytes, _Node] | None) -> None:
        self.layer, self.size, self.below = layer, size, below


class _Found(NamedTuple):
    path: bytes
    status: os.stat_result
    opaque: bool


def read(diffs: Sequence[Path]) -> list[LayerFiles]:
    """The layers' changes, the lowest first; `diffs` are their directories. Blocking. Raises OSError."""
    layers = [LayerFiles() for _ in diffs]
    root = _Node(0, 0, {})
    for number, diff in enumerate(diffs):
        seen: set[int] = set()
        for found in _walk(diff):
            _apply(layers, number, root, found, seen)
    return layers


def where(layers: Sequence[LayerFiles], path: str) -> list[tuple[int, Change]]:
    """Every layer that says something about this path (or deletes one of its directories), the lowest first."""
    wanted = os.fsencode(path).strip(b"/")
    return [
        (number, change)
        for number, layer in enumerate(layers)
        for change in layer.changes
        if change.path == wanted or (change.kind == DELETED and wanted.startswith(change.path + b"/"))
    ]


def _apply(layers: list[LayerFiles], number: int, root: _Node, found: _Found, seen: set[int]) -> None:
    head, _, name = found.path.rpartition(b"/")
    parent = root
    for part in head.split(b"/") if head else ():
        # The walk has come through each of them, so they are there.
        assert parent.below is not None
        parent = parent.below[part]
    assert parent.below is not None
    old = parent.below.get(name)
    status, layer = found.status, layers[number]
    if whiteouts.is_whiteout(status):
        if old is not None:
            del parent.below[name]
            layer.changes.append(Change(found.path, DELETED, _hide(layers, old), 0))
        return
    if stat.S_ISDIR(status.st_mode):
        if old is None or old.below is None or found.opaque:
            if old is not None and (old.below or old.below is None):
                gone = _hide(layers, old)
                if old.below:
                    # An opaque directory: what was in it is gone.
                    layer.changes.append(Change(found.path, DELETED, gone, 0))
            parent.below[name] = _Node(number, 0, {})
        layer.changes.append(Change(found.path, CHANGED if old else ADDED, 0, status.st_mode))
        return
    # Further names of one file take no room.
    size = status.st_size if stat.S_ISREG(status.st_mode) and status.st_ino not in seen else 0
    if status.st_nlink > 1:
        seen.add(status.st_ino)
    if old is not None:
        _hide(layers, old)
    parent.below[name] = _Node(number, size, None)
    layer.size += size
    layer.changes.append(Change(found.path, CHANGED if old else ADDED, size, status.st_mode))


def _hide(layers: list[LayerFiles], top: _Node) -> int:
    """Counts what is at and below a node as hidden; its bytes."""
    total = 0
    pending = [top]
    while pending:
        node = pending.pop()
        layers[node.layer].hidden += node.size
        total += node.size
        pending += (node.below or {}).values()
    return total


def _walk(diff: Path) -> Iterator[_Found]:
    """Everything in a diff directory, parents first, in the order of the names."""
    root = os.open(diff, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        pending = [b""]
        while pending:
            path = pending.pop()
            directory = open_in_root(root, path, _OPEN, resolve=RESOLVE_NO_SYMLINKS)
            try:
                inner = []
                with os.scandir(directory) as entries:
                    names = sorted(os.fsencode(entry.name) for entry in entries)
                for name in names:
                    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                    below = path + b"/" + name if path else name
                    opaque = False
                    if stat.S_ISDIR(status.st_mode):
                        inner.append(below)
                        opaque = _is_opaque(directory, name)
                    yield _Found(below, status, opaque)
            finally:
                os.close(directory)
            pending += reversed(inner)
    finally:
        os.close(root)


def _is_opaque(parent: int, name: bytes) -> bool:
    fd = os.open(name, _OPEN | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        return whiteouts.is_opaque(fd)
    finally:
        os.close(fd)
