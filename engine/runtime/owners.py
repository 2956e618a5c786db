"""Owners and devices as a user namespace has them: only some ids, and no devices. For the service: the launcher's
processes do not import it."""

from __future__ import annotations

import errno
import os
import stat

from dosirak.engine.errors import HostLimit
from dosirak.engine.runtime import privilege


class NoSuchOwner(HostLimit):
    """An id that this user namespace does not have."""


def give(
    target: int | str | bytes, uid: int, gid: int, *, dir_fd: int | None = None, follow_symlinks: bool = True
) -> None:
    """chown(2). Where there is one id alone, all there is belongs to it, and nothing is done.

    Raises OSError, NoSuchOwner.
    """
    here = privilege.here()
    if here.single:
        return
    try:
        os.chown(target, uid, gid, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
    except OSError as error:
        if error.errno != errno.EINVAL or not here.confined:
            raise
        raise NoSuchOwner(f"owner {uid}:{gid} is {privilege.NO_SUCH_ID}") from error


def lacks_device(mode: int) -> bool:
    """Whether this is a device, which no user namespace may make: images do without, as in Docker."""
    return privilege.here().confined and (stat.S_ISCHR(mode) or stat.S_ISBLK(mode))
