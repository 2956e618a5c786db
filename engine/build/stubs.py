"""Mount points that a RUN step's root lacked: made by the runtime, they must not end in the step's layer.

Looked at before the step, in its merged root; taken away after it, in its upper directory, by descriptors and one
name at a time: what the step left there is never followed (CVE-2024-23652).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from dosirak.engine.build.entries import BELOW
from dosirak.engine.runtime import inroot
from dosirak.engine.runtime import syscalls as sys

TARGETS = (
    "/proc",
    "/dev",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
)
"""Where every container has something mounted. What is below /dev, /proc and /sys lies in those mounts."""

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Stubs:
    """What to take away: `missing` paths, the deepest first; and `touched` directories, with what they were."""

    missing: tuple[str, ...]
    touched: tuple[tuple[str, os.stat_result], ...]


def find_stubs(root: int, targets: Iterable[str]) -> Stubs:
    """What mounting on `targets` will have to make in the merged root `root`. Blocking, some microseconds each."""
    missing: dict[str, None] = {}
    touched: dict[str, os.stat_result] = {}
    for target in targets:
        parts = target.strip("/").split("/")
        paths = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        existing = ""
        for path in paths:
            status = _look(root, path)
            if status is None:
                missing[path] = None
            else:
                existing = path
        if paths[-1] in missing and existing and existing not in touched:
            fd = inroot.open_in_root(root, existing, os.O_PATH)
            try:
                touched[existing] = os.fstat(fd)
            finally:
                os.close(fd)
    return Stubs(tuple(sorted(missing, key=len, reverse=True)), tuple(touched.items()))


def remove_stubs(upper: int, stubs: Stubs) -> None:
    """Takes away, in the upper directory open at `upper`, what was made for mounting and is still empty. Blocking."""
    for path in stubs.missing:
        _remove(upper, path, None)
    for path, before in sorted(stubs.touched, key=lambda item: len(item[0]), reverse=True):
        _remove(upper, path, before)


def same_directory(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two directories have the same mode and owner."""
    return (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)


def _look(root: int, path: str) -> os.stat_result | None:
    try:
        fd = inroot.open_in_root(root, path, os.O_PATH)
    except OSError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _remove(upper: int, path: str, before: os.stat_result | None) -> None:
    """Removes an empty file or directory; one that was there `before` only if the step left it as it was: then the
    upper directory has nothing to say about it."""
    parent, _, name = path.rpartition("/")
    try:
        directory = sys.openat2(upper, parent or ".", _OPEN_DIR, resolve=BELOW)
    except OSError:
        return
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            if before is None or (same_directory(status, before) and not _is_opaque(directory, name)):
                os.rmdir(name, dir_fd=directory)
        elif before is None and stat.S_ISREG(status.st_mode) and status.st_size == 0:
            os.unlink(name, dir_fd=directory)
    except OSError:
        return  # not there, or not empty: the step's own
    finally:
        os.close(directory)


def _is_opaque(directory: int, name: str) -> bool:
    """Whether an upper directory hides what lies below it: then it says something even when empty."""
    fd = sys.openat2(directory, name, _OPEN_DIR, resolve=BELOW)
    try:
        return any(attribute.endswith("overlay.opaque") for attribute in os.listxattr(fd))
    finally:
        os.close(fd)
