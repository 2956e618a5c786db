"""What a container may not see or write of its own /proc and /sys (linux.maskedPaths, linux.readonlyPaths)."""

from __future__ import annotations

import errno
import os
import stat

from dosirak.engine.runtime import filesystems, inroot
from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.mountopts import MountOptions


def mask(paths: list[str], root_fd: int) -> None:
    """Cover files by /dev/null and directories by one shared, empty, read-only tmpfs. Missing paths are skipped."""
    null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    empty = -1
    try:
        found = os.fstat(null)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
            raise OSError(errno.ENODEV, "the host's /dev/null is not the null device", "/dev/null")
        for path in paths:
            try:
                place = inroot.open_in_root(root_fd, path, os.O_PATH)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                if not stat.S_ISDIR(os.fstat(place).st_mode):
                    _cover(null, place)
                elif empty >= 0:
                    _cover(empty, place)
                else:
                    # Attached before it is cloned: a detached mount can be only since kernel 6.15.
                    empty = filesystems.create("tmpfs", MountOptions(["ro", "size=0k", "nr_inodes=2"]), "tmpfs")
                    sys.move_mount(empty, place)
            finally:
                os.close(place)
    finally:
        os.close(null)
        if empty >= 0:
            os.close(empty)


def _cover(source: int, place: int) -> None:
    cover = sys.open_tree(source, b"", sys.OPEN_TREE_CLONE | sys.AT_EMPTY_PATH)
    sys.move_mount(cover, place)
    os.close(cover)


def make_readonly(paths: list[str], root_fd: int) -> None:
    """Bind each path on itself, read-only with all below. Missing paths are skipped."""
    for path in paths:
        try:
            place = inroot.open_in_root(root_fd, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            continue
        tree = sys.open_tree(place, b"", sys.OPEN_TREE_CLONE | sys.AT_EMPTY_PATH | sys.AT_RECURSIVE)
        sys.mount_setattr(tree, set_=sys.MOUNT_ATTR_RDONLY, recursive=True)
        sys.move_mount(tree, place)
        os.close(tree)
        os.close(place)
