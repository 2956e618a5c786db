"""Overlay mounts as descriptors: no mount point anywhere, gone when the last descriptor is closed."""

from __future__ import annotations

import errno
import os

from dosirak.engine.runtime import capabilities, privilege
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def open_overlay(
    lower: Iterable[str | bytes], upper: str | bytes | None = None, work: str | bytes | None = None
) -> int:
    """A detached overlay mount.

    Parameters: `lower`: lower directories, the topmost first; `upper` and `work`: directories of one filesystem,
    or both None for a read-only view. Returns the mount's descriptor (usable as a root for `inroot`, and for
    move_mount). Raises OSError with the kernel's own explanation.

    Each layer goes in by "lowerdir+" (kernel 6.5), so their number is not bound by a page of mount options; where
    the kernel does not know it, all go into the one "lowerdir=a:b" string.
    """
    layers = [os.fsencode(path) for path in lower]
    if len(layers) == 1 and upper is None:
        # Overlayfs wants two lower directories when there is no upper one; a lone layer is its own merged view.
        tree = sys.open_tree(sys.AT_FDCWD, layers[0], sys.OPEN_TREE_CLONE)
        sys.mount_setattr(tree, set_=sys.MOUNT_ATTR_RDONLY)
        return tree
    if upper is None or work is None:
        return _mount_layers(layers, [])
    effective, permitted, inheritable = sys.capget()
    # Overlayfs writes as whoever mounted it. With this capability neither a quota nor the blocks that the filesystem
    # keeps for root would hold a container back.
    sys.capset(effective & ~capabilities.SYS_RESOURCE, permitted, inheritable)
    try:
        return _mount_layers(layers, [("upperdir", upper), ("workdir", work)])
    finally:
        sys.capset(effective, permitted, inheritable)


def _mount_layers(layers: list[bytes], writable: list[tuple[str, str | bytes]]) -> int:
    try:
        return _mount([("lowerdir+", layer) for layer in layers] + writable)
    except OSError as error:
        # Before 6.5 overlayfs takes every key and only then refuses the mount.
        if error.errno != errno.EINVAL:
            raise
        return _mount([("lowerdir", b":".join(layers)), *writable])


def _mount(options: list[tuple[str, str | bytes]]) -> int:
    fs = sys.fsopen("overlay")
    try:
        sys.fsconfig_string(fs, "source", "overlay")
        if privilege.here().confined:
            sys.fsconfig_flag(fs, "userxattr")  # its notes are in attributes that root of a user namespace can write
        for key, value in options:
            try:
                sys.fsconfig_string(fs, key, value)
            except OSError as error:
                raise OSError(error.errno, os.strerror(error.errno or 0), os.fsdecode(value)) from error
        sys.fsconfig_create(fs)
        return sys.fsmount(fs)
    except OSError as error:
        said = sys.fs_messages(fs)
        if said:
            raise OSError(error.errno, f"overlay: {os.strerror(error.errno or 0)}: {said}") from error
        raise
    finally:
        os.close(fs)
