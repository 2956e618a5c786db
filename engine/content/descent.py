"""Steps through trees that others may change meanwhile: by descriptor, following nothing, one descriptor at a time."""

from __future__ import annotations

import os

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a directory is opened, and nothing in its place."""


def step(here: int, name: bytes) -> int:
    """Opens the directory `name` in `here`, and closes `here`. Raises OSError, with `here` still open."""
    there = os.open(name, DIRECTORY, dir_fd=here)
    os.close(here)
    return there


def identity(fd: int) -> tuple[int, int]:
    """Which one this is, whatever it is called: device and inode."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
