"""Deletions in layers: ".wh." names in a tar (OCI image-spec, layer.md), and what overlayfs has for them.

overlayfs: a character device 0:0 hides the name in lower layers; a directory with the extended attribute
`trusted.overlay.opaque` (`user.overlay.opaque` in a user namespace) = "y" hides all that is below it there
(Documentation/filesystems/overlayfs.rst).
"""

from __future__ import annotations

import errno
import os
import stat

from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.runtime import privilege

PREFIX = b".wh."
OPAQUE_NAME = b".wh..wh..opq"
# AUFS' own bookkeeping, in layers of old: no files of the image.
_AUFS = b".wh..wh."

_CAPABILITY = b"security.capability"
_USER = b"user."
_OVERLAY_USER = b"user.overlay."


def hidden_name(name: bytes) -> bytes | None:
    """What the whiteout `name` hides ("" for the whole directory); None if it is no whiteout. Raises CorruptArchive."""
    if not name.startswith(PREFIX):
        return None
    if name == OPAQUE_NAME:
        return b""
    hidden = name[len(PREFIX) :]
    if hidden in (b"", b".", b".."):
        raise CorruptArchive("invalid whiteout entry")
    return hidden


def is_bookkeeping(parts: list[bytes]) -> bool:
    """Whether a path belongs to AUFS' bookkeeping, to be skipped.

    Raises CorruptArchive for a whiteout as a directory.
    """
    if any(part.startswith(_AUFS) and part != OPAQUE_NAME for part in parts):
        return True
    if any(part.startswith(PREFIX) for part in parts[:-1]):
        raise CorruptArchive("invalid whiteout entry: a whiteout is no directory")
    return False


def is_whiteout(status: os.stat_result) -> bool:
    """Whether lstat saw overlayfs' whiteout."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_whiteout(parent: int, name: bytes) -> None:
    """Hides `name` of lower layers, in the directory `parent`. Raises OSError, EEXIST if something is there."""
    os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)


def make_opaque(directory: int) -> None:
    """Hides what lower layers have in this directory. Raises OSError."""
    os.setxattr(directory, privilege.here().opaque, b"y")


def is_opaque(directory: int | str | bytes) -> bool:
    """Whether lower layers' content of the directory is hidden. Raises OSError."""
    try:
        return os.getxattr(directory, privilege.here().opaque) == b"y"
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        return False


def is_image_xattr(name: bytes) -> bool:
    """Whether an extended attribute is the image's business: file capabilities and the users' own.

    Not labels of security modules, not ACLs, and not overlayfs' own ("trusted.overlay.", "user.overlay.": redirect,
    metacopy, opaque): what those say only ".wh." names may say.
    """
    return name == _CAPABILITY or (name.startswith(_USER) and not name.startswith(_OVERLAY_USER))
