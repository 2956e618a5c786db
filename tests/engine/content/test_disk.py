"""What a tree takes on disk, when it is somebody else's who changes it meanwhile."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from dosirak.engine.content.disk import disk_use, files_below
from dosirak.engine.layers.removal import remove_tree

DEEP = 2500


def make_deep(top: Path, levels: int = DEEP) -> None:
    """Directories deeper than PATH_MAX and Python's stack, a file of 5 bytes in the last."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("dd", dir_fd=here)
        below = os.open("dd", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    file = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here)
    os.write(file, b"12345")
    os.close(file)
    os.close(here)


def test_each_inode_counts_once_and_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("/")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/e").write_bytes(b"y" * 10)
    assert disk_use(tmp_path) == 1010
    assert len(list(files_below(tmp_path))) == 4
    assert disk_use(tmp_path / "gone") == 0


def test_a_tree_deeper_than_any_path_or_stack_is_counted(tmp_path: Path) -> None:
    assert sys.getrecursionlimit() < DEEP
    make_deep(tmp_path)
    assert disk_use(tmp_path) == 5
    remove_tree(tmp_path / "dd")


def test_a_directory_exchanged_for_a_link_leads_nowhere(tmp_path: Path) -> None:
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    (outside / "below").mkdir(parents=True)
    (outside / "below/secret").write_bytes(b"s" * 12345)
    tree.mkdir()
    (tree / "real/below").mkdir(parents=True)
    (tree / "real/below/file").write_bytes(b"f")
    ended = threading.Event()

    def exchange() -> None:
        while not ended.is_set():
            (tree / "real").rename(tree / "other")
            (tree / "real").symlink_to(outside)
            (tree / "real").unlink()
            (tree / "other").rename(tree / "real")

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        sizes = {disk_use(tree) for _ in range(1500)}
    finally:
        ended.set()
        thread.join()
    assert sizes <= {0, 1, 2}
    # The control: by names, what the link leads to is counted as soon as it stands there.
    (tree / "real").rename(tree / "other")
    (tree / "real").symlink_to(outside)
    assert sum(len(files) for _, _, files in os.walk(tree / "real")) == 1
