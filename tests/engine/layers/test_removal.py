"""Removing trees that containers filled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dosirak.engine.layers.removal import remove_entry, remove_tree


def test_everything_below_goes_and_nothing_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    tree = tmp_path / "tree"
    for path in ("a/b/c", "a/d", "e"):
        (tree / path).mkdir(parents=True)
        (tree / path / "f").write_text("x")
    (tree / "a" / "link").symlink_to(outside)
    os.mkfifo(tree / "fifo")
    (tree / "a").chmod(0)
    remove_tree(tree)
    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert os.listdir(outside) == ["kept"]


def test_a_tree_deeper_than_any_path_goes(tmp_path: Path) -> None:
    top = os.open(tmp_path, os.O_RDONLY)
    here = os.dup(top)
    for _ in range(3000):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert remove_entry(top, b"deep")
    os.close(top)
    assert os.listdir(tmp_path) == []


def test_it_says_whether_paths_may_lead_elsewhere_now(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / "s").symlink_to("f")
    (tmp_path / "d").mkdir()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert [remove_entry(fd, name) for name in (b"f", b"s", b"d")] == [False, True, True]
        with pytest.raises(FileNotFoundError):
            remove_entry(fd, b"f")
    finally:
        os.close(fd)


def test_nothing_there_is_fine(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
