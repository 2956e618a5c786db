"""`process.apparmorProfile`: the AppArmor profile that the program runs under, by a change on exec (apparmor(7))."""

from __future__ import annotations

import errno
import os

from dosirak.engine.runtime import syscalls as sys

# Since kernel 5.8; before, "attr/exec" belongs to the one module that has such attributes.
_PLACES = ("/proc/self/attr/apparmor/exec", "/proc/self/attr/exec")
_PROC_SUPER_MAGIC = 0x9FA0  # linux/magic.h


def check(place: bytes | str) -> None:
    """That an attribute's file is one of procfs: for who can write it no sooner than later, by its name. Raises
    OSError."""
    fd = os.open(place, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _check_kind(fd, place)
    finally:
        os.close(fd)


def _check_kind(fd: int, place: bytes | str) -> None:
    if sys.fs_type(fd) != _PROC_SUPER_MAGIC:
        raise OSError(errno.EINVAL, "is not on a procfs", place)


def apply(profile: str, places: tuple[str, ...] = _PLACES) -> None:
    """Have the next execve enter this profile. Raises OSError in runc's words.

    Before the container's root is entered: an image's /proc may be something else (CVE-2019-16884), and what is
    mounted on the host's is looked at. Parameters: `places`: the attribute's file, the first that is there.
    """
    try:
        place = next((path for path in places if os.path.exists(path)), places[-1])
        fd = os.open(place, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _check_kind(fd, place)
            os.write(fd, f"exec {profile}".encode())
        finally:
            os.close(fd)
    except OSError as error:
        reason = (error.strerror or os.strerror(error.errno or 0)).lower()
        raise OSError(error.errno, f"apparmor failed to apply profile {profile}: {reason}") from error
