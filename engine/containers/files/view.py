"""A container's files as `docker cp` sees them: its root with its volumes, binds and own files, whether it runs or not.

The view is built in a mount namespace of one thread's own, and goes with that thread: nothing of it is ever visible to
anyone else, and nothing is left when the process is killed. Mounts are made by descriptors inside the root (`inroot`),
so a component that somebody exchanges for a symlink meanwhile leads nowhere (CVE-2026-41568, CVE-2026-42306), and the
thread never changes its root to the container's for longer than it takes to clone two kinds of mounts there: it imports
nothing and runs nothing of the container's (CVE-2019-14271, CVE-2026-41567).

As in Docker, /proc, /sys and /dev are not part of it. Unlike there, a running container's tmpfs mounts are.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dosirak.engine.runtime import inroot, overlay
from dosirak.engine.runtime import syscalls as sys

T = TypeVar("T")
_TMPFS_MAGIC = 0x01021994
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Gone(Exception):
    """The container's process has ended."""


class NoPlace(Exception):
    """A mount's place does not exist, in a view that can't be written to."""


@dataclass(frozen=True, slots=True)
class ViewMount:
    """A directory or file of the host, and where it is seen. `flat`: read-only does not hold for the mounts below."""

    source: str
    destination: str
    readonly: bool = False
    recursive: bool = True
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a view shows.

    `pidfd`: the running container's process, whose root it is (-1: the root is made of `lower`, `upper` and `work`, or
    of `upper` and `lower` for reading only); `place`: an empty directory to mount on; `mounts`: from the top down;
    `tmpfs`: where a running container has a tmpfs; `readonly`: the root can't be written to. `owner`: the host's ids of
    a running container's root, where it has a user namespace: then `inner` are its mounts, as it has them itself.
    """

    lower: tuple[str, ...]
    upper: str
    work: str
    place: str
    pidfd: int = -1
    writable: bool = False
    readonly: bool = False
    mounts: tuple[ViewMount, ...] = ()
    tmpfs: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    owner: tuple[int, int] = (0, 0)


def inside(plan: Plan, work: Callable[[int], T]) -> T:
    """Build the view, call `work` with a descriptor of its root, and return what that returns.

    Only in a thread that ends right after; `plan.pidfd` is closed. Raises Gone, NoPlace, OSError, and what `work`
    raises.
    """
    try:
        sys.unshare(sys.CLONE_NEWNS)
        sys.mount(None, "/", None, sys.MS_REC | sys.MS_PRIVATE)
        root, own = _running(plan) if plan.pidfd >= 0 else (_stopped(plan), [])
    finally:
        if plan.pidfd >= 0:
            os.close(plan.pidfd)
    place = os.open(plan.place, _DIRECTORY)
    try:
        sys.move_mount(root, place)
        for mount in plan.mounts:
            _show(mount, root)
        for destination, tree in own:
            _attach(tree, destination, root)
        if plan.readonly and plan.pidfd < 0:
            sys.mount_setattr(root, set_=sys.MOUNT_ATTR_RDONLY)
        if plan.owner != (0, 0):
            # What is made belongs to somebody whom the map of the container's layers knows; else it can't be made.
            sys.setfsids(*plan.owner)
        return work(root)
    finally:
        os.close(place)
        os.close(root)


def _stopped(plan: Plan) -> int:
    if plan.writable:
        return overlay.open_overlay(plan.lower, plan.upper, plan.work)
    # Without an upper directory: it may be mounted for a start at any moment.
    return overlay.open_overlay((plan.upper, *plan.lower))


def _running(plan: Plan) -> tuple[int, list[tuple[str, int]]]:
    """Clones of the container's root and of mounts of its own, made in its mount namespace: elsewhere they can't be."""
    ours = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    own = []
    try:
        try:
            sys.setns(plan.pidfd, sys.CLONE_NEWNS)
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.EINVAL):
                raise Gone from error
            raise
        # From here on this thread's root is the container's: system calls only.
        try:
            root = _clone(sys.AT_FDCWD, b"/", recursive=False)
            for destination in plan.inner or plan.tmpfs:
                if (tree := _own(destination, tmpfs_only=not plan.inner)) >= 0:
                    own.append((destination, tree))
        finally:
            sys.setns(ours, sys.CLONE_NEWNS)
    finally:
        os.close(ours)
    return root, own


def _own(destination: str, *, tmpfs_only: bool) -> int:
    """A clone of what is mounted there, -1 when there is nothing."""
    top = os.open("/", _DIRECTORY)
    try:
        place = inroot.open_in_root(top, destination, os.O_PATH | (os.O_DIRECTORY if tmpfs_only else 0))
    except OSError:
        return -1
    finally:
        os.close(top)
    try:
        if tmpfs_only and sys.fs_type(place) != _TMPFS_MAGIC:
            return -1
        return _clone(place, b"", recursive=not tmpfs_only)
    finally:
        os.close(place)


def _clone(directory: int, path: str | bytes, *, recursive: bool) -> int:
    """A detached copy of a mount, private: what is mounted in it later shows nowhere else. Raises OSError."""
    flags = sys.OPEN_TREE_CLONE | (0 if path else sys.AT_EMPTY_PATH) | (sys.AT_RECURSIVE if recursive else 0)
    tree = sys.open_tree(directory, path, flags)
    sys.mount_setattr(tree, propagation=sys.MS_PRIVATE, recursive=recursive)
    return tree


def _show(mount: ViewMount, root: int) -> None:
    try:
        tree = _clone(sys.AT_FDCWD, mount.source, recursive=mount.recursive)
    except FileNotFoundError:
        return  # a bind's source that is no more: the container's own directory shows
    if mount.readonly:
        sys.mount_setattr(tree, set_=sys.MOUNT_ATTR_RDONLY, recursive=not mount.flat)
    _attach(tree, mount.destination, root)


def _attach(tree: int, destination: str, root: int) -> None:
    try:
        is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        make = inroot.make_dirs if is_directory else inroot.make_file
        try:
            place = make(root, destination)
        except OSError as error:
            if error.errno == errno.EROFS:
                raise NoPlace from error
            if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENOENT):
                return  # something else stands there: no start would work either
            raise
        try:
            if stat.S_ISDIR(os.fstat(place).st_mode) == is_directory:
                sys.move_mount(tree, place)
        finally:
            os.close(place)
    finally:
        os.close(tree)
