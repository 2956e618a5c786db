"""What the disk refuses becomes one clear error; small files are replaced whole or not at all; what a tree takes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dosirak.engine.errors import HostLimit

_LIMITS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EACCES}
)


@contextmanager
def host_limits(doing: str) -> Iterator[None]:
    """Turns the OSErrors that are the host's fault (disk full, quota, read-only…) into HostLimit.

    Parameters: `doing` says what was attempted: "writing a blob". Other OSErrors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _LIMITS:
            raise
        reason = os.strerror(error.errno or 0)
        raise HostLimit(f"{doing}: {reason[:1].lower()}{reason[1:]}") from error


def replace_file(path: Path, data: bytes, temporary: Path) -> None:
    """Writes `data` to `temporary` (same filesystem) and renames it to `path`, durably. Raises HostLimit, OSError."""
    try:
        with host_limits(f"writing {path.name}"):
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def disk_use(directory: Path) -> int:
    """Bytes of the regular files under a directory, each inode once; what disappears meanwhile counts nothing.

    Reads the whole tree: call it in a thread.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                found = os.lstat(f"{folder}/{name}")
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_size
    return total
