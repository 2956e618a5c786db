"""The chosen files into a directory: in the kernel, from file to file."""

from __future__ import annotations

import os
from pathlib import Path

from dosirak.engine.images.host.tree import Copy, Directory, Link, Node, Text, Tree

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write(tree: Tree, root: Path) -> None:
    """Writes the tree below the empty directory `root`. Blocking. Raises OSError.

    The directory is ours alone and the tree's paths lead through no link, so names are enough here.
    """
    # A directory sorts before what is in it.
    for path, node in sorted(tree.nodes.items()):
        _make(root / path.lstrip("/"), node)


def _make(path: Path, node: Node) -> None:
    match node:
        case Directory(mode=mode):
            path.mkdir()
            path.chmod(mode)
        case Link(target=target):
            path.symlink_to(target)
        case Text(content=content, mode=mode):
            path.write_text(content)
            path.chmod(mode)
        case Copy():
            _copy(node, path)


def _copy(node: Copy, path: Path) -> None:
    source = os.open(node.source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(path, _NEW, 0o600)
        try:
            while os.sendfile(target, source, None, 1 << 30):
                pass
            os.fchmod(target, node.mode)
            # Python's caches are good only for sources of the very second.
            os.utime(target, ns=(node.mtime, node.mtime))
        finally:
            os.close(target)
    finally:
        os.close(source)
