"""Hints to the filesystem about where things go."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest

from dosirak.engine.content import Store
from dosirak.engine.content.placement import spread_below
from dosirak.engine.layers import Layers

_FS_IOC_GETFLAGS = 0x80086601
_TOPDIR = 0x20000


def filesystem(path: Path) -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", path], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def flags(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return int(struct.unpack("i", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(4)))[0])
    finally:
        os.close(fd)


def test_layers_lie_apart_from_each_other_on_ext4(tmp_path: Path) -> None:
    if filesystem(tmp_path) != "ext2/ext3":
        pytest.skip("no ext4 here")
    assert not flags(tmp_path) & _TOPDIR
    Layers(tmp_path / "layers", Store(tmp_path / "content"))
    assert flags(tmp_path / "layers" / "tmp") & _TOPDIR
    assert not flags(tmp_path / "layers") & _TOPDIR


def test_other_filesystems_and_missing_directories_are_left_alone(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        spread_below(Path(elsewhere))
    spread_below(tmp_path / "missing")
    spread_below(Path("/proc/self"))
