"""What the disk refuses becomes one clear error; small files are replaced whole or not at all; what a tree takes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dosirak.engine.content.descent import DIRECTORY, identity, step
from dosirak.engine.errors import HostLimit

_LIMITS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EACCES}
)

# Exchanged or removed since the directory was read.
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


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

    Reads the whole tree: call it in a thread. Raises OSError.
    """
    return total_size(status for status in files_below(directory) if stat.S_ISREG(status.st_mode))


def total_size(files: Iterable[os.stat_result]) -> int:
    """Bytes of these files, each inode once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for status in files:
        if status.st_nlink > 1:
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_size
    return total


def files_below(directory: Path) -> Iterator[os.stat_result]:
    """What lstat says of everything below a directory but the directories; nothing where there is none.

    Whose tree it is may change it meanwhile, and make it deeper than Python's stack and PATH_MAX: by descriptors,
    following nothing, down by name and up by "..". Where a directory was moved away on the way, the rest is left out.
    Raises OSError.
    """
    try:
        here = os.open(directory, DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        files, inner = _read(here)
        yield from files
        levels = [(identity(here), inner)]
        while True:
            _, inner = levels[-1]
            if inner:
                try:
                    here = step(here, inner.pop())
                except OSError as error:
                    if error.errno not in _GONE:
                        raise
                    continue
                files, below = _read(here)
                yield from files
                levels.append((identity(here), below))
                continue
            levels.pop()
            if not levels:
                return
            here = step(here, b"..")
            if identity(here) != levels[-1][0]:
                return
    finally:
        os.close(here)


def _read(directory: int) -> tuple[list[os.stat_result], list[bytes]]:
    """What lstat says of a directory's files, and its directories' names."""
    files, directories = [], []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(os.fsencode(entry.name))
                continue
            try:
                files.append(entry.stat(follow_symlinks=False))
            except FileNotFoundError:
                continue
    return files, directories
