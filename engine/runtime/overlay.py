"""Overlay mounts as descriptors: no mount point anywhere, gone when the last descriptor is closed."""

from __future__ import annotations

import errno
import os

from dosirak.engine.runtime import capabilities, privilege
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


# What overlayfs's options are not made of: letters and digits first, then every other byte that means nothing in them.
_NAMES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" + bytes(range(128, 256))
_MOST_LAYERS = 127


def open_overlay(
    lower: Iterable[str | bytes], upper: str | bytes | None = None, work: str | bytes | None = None
) -> int:
    """A detached overlay mount.

    Parameters: `lower`: lower directories, the topmost first; `upper` and `work`: directories of one filesystem,
    or both None for a read-only view. Returns the mount's descriptor (usable as a root for `inroot`, and for
    move_mount). Raises OSError with the kernel's own explanation.

    Each layer goes in by "lowerdir+" (kernel 6.5), so their number is not bound; where the kernel does not know it, all
    go into the one "lowerdir=a:b" string, by short names.
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
        return _mount_by_short_names(layers, writable)


def _mount_by_short_names(layers: list[bytes], writable: list[tuple[str, str | bytes]]) -> int:
    """By one "lowerdir=a:b" string, of which fsconfig(2) takes 255 bytes: two layers' paths, if it came to these.

    So each directory gets a link of one byte in a file system that is mounted nowhere, which is the current directory
    meanwhile: this thread's alone from then on.
    """
    paths = [*layers, *(os.fsencode(path) for _, path in writable)]
    if len(layers) > _MOST_LAYERS:
        raise OSError(errno.E2BIG, f"{len(layers)} layers are more than a kernel before 6.5 stacks ({_MOST_LAYERS})")
    names = [bytes([byte]) for byte in _NAMES[: len(paths)]]
    sys.unshare(sys.CLONE_FS)
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        links = _new_tmpfs()
        try:
            for name, path in zip(names, paths, strict=True):
                full = path if path.startswith(b"/") else os.path.join(os.getcwdb(), path)
                os.symlink(full, name, dir_fd=links)
            os.fchdir(links)
            lower = b":".join(names[: len(layers)])
            others = zip((key for key, _ in writable), names[len(layers) :], strict=True)
            return _mount([("lowerdir", lower), *others])
        finally:
            os.fchdir(here)
            os.close(links)
    finally:
        os.close(here)


def _new_tmpfs() -> int:
    fs = sys.fsopen("tmpfs")
    try:
        sys.fsconfig_create(fs)
        return sys.fsmount(fs)
    finally:
        os.close(fs)


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
