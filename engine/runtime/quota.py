"""Project quotas: how much a directory tree may hold, where its filesystem keeps count (ext4, XFS). For the service.

A directory with a project id hands it down to what is made in it; a quota bounds what one id holds (quotactl(2),
ioctl_xfs_fsgetxattr(2)).
"""

from __future__ import annotations

import fcntl
import os
import struct

from dosirak.engine.runtime import syscalls as sys

_PRJQUOTA = 2
_Q_GETQUOTA, _Q_SETQUOTA = 0x800007, 0x800008
_Q_XGETQSTATV, _QSTATV_VERSION1 = ord("X") << 8 | 8, 1
_PROJECT_ENFORCED = 1 << 5  # FS_QUOTA_PDQ_ENFD
_BLOCK_LIMITS = 1  # QIF_BLIMITS
# struct if_dqblk: hard and soft limit in KiB, bytes used, the same of inodes, two times, what of it is meant
_QUOTA = struct.Struct("<8QI4x")
_STATUS_SIZE = 256  # struct fs_quota_statv, generously

_FS_IOC_FSGETXATTR, _FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820
_ATTRIBUTES = struct.Struct("<5I8x")  # struct fsxattr: flags, extent size, extents, project, cow extent size
_PROJECT_IS_INHERITED = 0x200  # FS_XFLAG_PROJINHERIT


def enforced(directory: str) -> bool:
    """Whether the directory's filesystem bounds what projects hold."""
    status = bytearray(_STATUS_SIZE)
    status[0] = _QSTATV_VERSION1
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sys.quotactl_fd(fd, _command(_Q_XGETQSTATV), 0, status)
    except OSError:
        return False
    finally:
        os.close(fd)
    flags: int = struct.unpack_from("<H", status, 2)[0]
    return bool(flags & _PROJECT_ENFORCED)


def assign(directory: str, project: int) -> None:
    """Give an empty directory, and what will be made in it, a project id. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        old = fcntl.ioctl(fd, _FS_IOC_FSGETXATTR, bytes(_ATTRIBUTES.size))
        flags, size, extents, _, cow = _ATTRIBUTES.unpack(old)
        new = _ATTRIBUTES.pack(flags | _PROJECT_IS_INHERITED, size, extents, project, cow)
        fcntl.ioctl(fd, _FS_IOC_FSSETXATTR, new)
    finally:
        os.close(fd)


def project_of(directory: str) -> int:
    """A directory's project id, 0 without one. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        project: int = _ATTRIBUTES.unpack(fcntl.ioctl(fd, _FS_IOC_FSGETXATTR, bytes(_ATTRIBUTES.size)))[3]
        return project
    finally:
        os.close(fd)


def used(directory: str, project: int) -> bool:
    """Whether a project has a limit or holds something on the directory's filesystem. Raises OSError."""
    found = bytearray(_QUOTA.size)
    try:
        _on(directory, _Q_GETQUOTA, project, found)
    except FileNotFoundError:
        return False  # XFS has no record of it
    hard, _, held, *_ = _QUOTA.unpack(found)
    return bool(hard or held)


def limit(directory: str, project: int, size: int) -> None:
    """Bound what a project holds to `size` bytes; 0: no bound. Raises OSError."""
    blocks = -(-size // 1024)
    _on(directory, _Q_SETQUOTA, project, bytearray(_QUOTA.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, _BLOCK_LIMITS)))


def _on(directory: str, command: int, project: int, data: bytearray) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sys.quotactl_fd(fd, _command(command), project, data)
    finally:
        os.close(fd)


def _command(command: int) -> int:
    return command << 8 | _PRJQUOTA
