"""Mounts seen through a user namespace: who owns a file is read by the namespace's maps, and nothing on disk changes.

An id on disk is the id inside the container: its layers, volumes and what it writes look as if it had no user namespace
(mount_setattr(2), MOUNT_ATTR_IDMAP). Overlayfs itself takes no such map, its layers do, since kernel 5.19.
"""

from __future__ import annotations

import errno
import os

from dosirak.engine.runtime import namespaces, overlay
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def apply(tree: int, user: int, entry: dict[str, Any], *, recursive: bool) -> None:
    """Map the owners of a detached mount: by the mappings of its `entry` of config.json, else by the user namespace
    `user`. Raises OSError."""
    own = namespaces.make_user(entry) if entry.get("uidMappings") else -1
    try:
        if own < 0 and user < 0:
            raise OSError(errno.EINVAL, "idmap needs mappings, or a user namespace of the container's own")
        _map(tree, own if own >= 0 else user, entry.get("source") or "", recursive=recursive)
    finally:
        if own >= 0:
            os.close(own)


def open_overlay(
    lower: Sequence[str],
    upper: str | None = None,
    work: str | None = None,
    *,
    user: int,
    owner: tuple[int, int] = (0, 0),
    attached: bool = False,
) -> int:
    """`overlay.open_overlay` of layers that are mapped by a user namespace.

    Parameters: `user`: its descriptor; `owner`: the ids that its root has outside, for what overlayfs makes in `work`
    itself; `attached`: as if the kernel were older than 6.15, which refuses layers that are mounted nowhere: they get a
    place in a mount namespace of this process's own. Raises OSError.
    """
    trees = [_tree(path, user) for path in lower]
    if upper and work:
        # Overlayfs wants both on one mount.
        if os.path.dirname(upper) != os.path.dirname(work):
            raise OSError(errno.EINVAL, "upperdir and workdir must lie in one directory", upper)
        trees.append(_tree(os.path.dirname(upper), user))
    try:
        if len(trees) == 1:  # its own merged view
            sys.mount_setattr(trees[0], set_=sys.MOUNT_ATTR_RDONLY)
            return os.dup(trees[0])
        names = [os.path.basename(path) for path in (upper, work) if path]
        if not attached:
            try:
                return _mount([f"/proc/self/fd/{tree}" for tree in trees], names, owner)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        return _mount_attached(trees, names, owner, lower[0])
    finally:
        for tree in trees:
            os.close(tree)


def _tree(path: str, user: int) -> int:
    tree = sys.open_tree(sys.AT_FDCWD, path, sys.OPEN_TREE_CLONE)
    try:
        _map(tree, user, path)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _map(tree: int, user: int, path: str, *, recursive: bool = False) -> None:
    try:
        sys.idmap(tree, user, recursive=recursive)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        release = os.uname().release
        text = f"idmapped mounts are not supported here (kernel {release}; the file system must allow them)"
        raise OSError(error.errno, text, path) from error


def _mount(places: list[str], names: list[str], owner: tuple[int, int]) -> int:
    if not names:
        return overlay.open_overlay(places)
    own = places.pop()
    # Overlayfs makes things in the work directory as whoever mounts: that must be somebody the map knows.
    sys.setfsids(*owner)
    try:
        return overlay.open_overlay(places, *(f"{own}/{name}" for name in names))
    finally:
        sys.setfsids(0, 0)


def _mount_attached(trees: list[int], names: list[str], owner: tuple[int, int], cover: str) -> int:
    """On a tmpfs over `cover`, which nobody looks at here any more."""
    sys.unshare(sys.CLONE_NEWNS)
    sys.mount(None, "/", None, sys.MS_REC | sys.MS_SLAVE)
    fs = sys.fsopen("tmpfs")
    try:
        sys.fsconfig_create(fs)
        base = sys.fsmount(fs)
    finally:
        os.close(fs)
    place = os.open(cover, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sys.move_mount(base, place)
    os.close(place)
    try:
        for number, tree in enumerate(trees):
            os.mkdir(str(number), dir_fd=base)
            sys.move_mount(tree, base, str(number))
        return _mount([f"{cover}/{number}" for number in range(len(trees))], names, owner)
    finally:
        os.close(base)
        sys.umount2(cover, sys.MNT_DETACH)
