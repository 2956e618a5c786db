"""Freezing a cgroup: its processes stay where they are until it is thawed.

On v1 by freezer.state (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst); a frozen process there does not even
die of SIGKILL until it is thawed. On v2 by cgroup.freeze (Documentation/admin-guide/cgroup-v2.rst).
"""

from __future__ import annotations

import errno
import os
import time

from dosirak.engine.runtime.cgroups import files

# How long until we give up: a process in the kernel (a dead network disk) can't be frozen.
_PATIENCE = 5.0


def freeze_v1(directory: str) -> None:
    """Freeze a group of the freezer hierarchy. Raises OSError: it is gone, or can't be frozen and goes on."""
    deadline, tries = time.monotonic() + _PATIENCE, 0
    while True:
        # Again each time: processes forked meanwhile are frozen only by a further write.
        files.write(directory, "freezer.state", "FROZEN")
        if files.read(directory, "freezer.state").strip() == "FROZEN":
            return
        if time.monotonic() > deadline:
            thaw_v1(directory)
            raise OSError(errno.EBUSY, "its processes can't be frozen", directory)
        tries += 1
        time.sleep(min(0.0001 * tries, 0.01))


def thaw_v1(directory: str) -> None:
    """Let a group go on, with those below it that processes inside may have frozen. One that is gone is fine."""
    for folder, _, _ in os.walk(directory):
        try:
            files.write(folder, "freezer.state", "THAWED")
        except OSError:
            continue


def frozen_v1(directory: str) -> bool:
    """Whether it was asked to freeze."""
    try:
        return files.read(directory, "freezer.self_freezing").strip() == "1"
    except OSError:
        return False


def freeze_v2(directory: str) -> None:
    """Freeze a group. Raises OSError: it is gone, or can't be frozen and goes on."""
    files.write(directory, "cgroup.freeze", 1)
    deadline, pause = time.monotonic() + _PATIENCE, 0.0001
    while not files.field(directory, "cgroup.events", "frozen"):
        if time.monotonic() > deadline:
            thaw_v2(directory)
            raise OSError(errno.EBUSY, "its processes can't be frozen", directory)
        time.sleep(pause)
        pause = min(pause * 2, 0.01)


def thaw_v2(directory: str) -> None:
    """Let a group go on. One that is gone is fine."""
    try:
        files.write(directory, "cgroup.freeze", 0)
    except OSError:
        pass


def frozen_v2(directory: str) -> bool:
    """Whether it was asked to freeze."""
    try:
        return files.read(directory, "cgroup.freeze").strip() == "1"
    except OSError:
        return False
