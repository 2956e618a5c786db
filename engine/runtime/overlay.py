"""Overlay mounts as descriptors: no mount point anywhere, gone when the last descriptor is closed."""

from __future__ import annotations

import errno
import os

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

    Each layer goes in by "lowerdir+" (kernel 6.5), so their number is not bound by a page of mount options;
    older kernels get the one "lowerdir=a:b" string.
    """
    layers = [os.fsencode(path) for path in lower]
    if len(layers) == 1 and upper is None:
        # Overlayfs wants two lower directories when there is no upper one; a lone layer is its own merged view.
        tree = sys.open_tree(sys.AT_FDCWD, layers[0], sys.OPEN_TREE_CLONE)
        sys.mount_setattr(tree, set_=sys.MOUNT_ATTR_RDONLY)
        return tree
    fs = sys.fsopen("overlay")
    try:
        sys.fsconfig_string(fs, "source", "overlay")
        _set_lower(fs, layers)
        if upper is not None and work is not None:
            sys.fsconfig_string(fs, "upperdir", upper)
            sys.fsconfig_string(fs, "workdir", work)
        return _create(fs)
    finally:
        os.close(fs)


def _set_lower(fs: int, layers: list[bytes]) -> None:
    for layer in layers:
        try:
            sys.fsconfig_string(fs, "lowerdir+", layer)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise OSError(error.errno, os.strerror(error.errno or 0), os.fsdecode(layer)) from error
            sys.fsconfig_string(fs, "lowerdir", b":".join(layers))
            return


def _create(fs: int) -> int:
    try:
        sys.fsconfig_create(fs)
        return sys.fsmount(fs)
    except OSError as error:
        said = sys.fs_messages(fs)
        if said:
            raise OSError(error.errno, f"overlay: {os.strerror(error.errno or 0)}: {said}") from error
        raise
