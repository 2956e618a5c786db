"""Where a mount of the container's goes, and a detached clone of what goes there; all by descriptors (`rootfs`)."""

from __future__ import annotations

import errno
import os

from dosirak.engine.runtime import inroot
from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.mountopts import MountOptions

# Filesystems whose place must be a real directory of the root, never a symlink of the image (CVE-2019-19921,
# CVE-2026-41579): procfs or /dev landing elsewhere would leave masks and device nodes elsewhere too.
_FIXED_PLACES = frozenset(("/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup"))


def is_there(root_fd: int, destination: str) -> bool:
    """Whether the root has something there."""
    try:
        os.close(inroot.open_in_root(root_fd, destination, os.O_PATH))
    except OSError:
        return False  # what is wrong with it, whoever mounts there will say
    return True


def open_place(root_fd: int, destination: str, is_directory: bool) -> int:
    """What a mount covers, made if need be. Raises OSError."""
    if os.path.normpath(destination) not in _FIXED_PLACES:
        make = inroot.make_dirs if is_directory else inroot.make_file
        return make(root_fd, destination)
    try:
        flags = os.O_PATH | os.O_DIRECTORY
        return inroot.open_in_root(root_fd, destination, flags, resolve=sys.RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        os.close(inroot.make_dirs(root_fd, destination))
        return inroot.open_in_root(root_fd, destination, flags, resolve=sys.RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise OSError(error.errno, "must be mounted on ordinary directory", destination) from error
        raise


def clone_tree(source: str | bytes, options: MountOptions) -> int:
    """A detached bind mount of a path of the host's. Raises OSError."""
    flags = sys.OPEN_TREE_CLONE | (sys.AT_RECURSIVE if options.recursive else 0)
    tree = sys.open_tree(sys.AT_FDCWD, source, flags)
    # A clone is its source's peer: private towards the host unless the document asks otherwise.
    propagation, deep = options.propagation
    if not propagation:
        propagation, deep = sys.MS_PRIVATE, options.recursive
    if deep:
        sys.mount_setattr(tree, propagation=propagation, recursive=True)
        propagation = 0
    if options.set or options.clear or propagation:
        sys.mount_setattr(tree, set_=options.set, clear=options.clear, propagation=propagation)
    if options.tree_set or options.tree_clear:
        sys.mount_setattr(tree, set_=options.tree_set, clear=options.tree_clear, recursive=True)
    return tree
