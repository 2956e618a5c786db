"""`python -S -E -I compress.py LOG FILES`: compress the rotated parts of a log, LOG.1 to LOG.(FILES-1).

A process of its own, so that the monitor neither waits nor loads zlib. A part is compressed beside its place, under a
lock on itself (another one of us may be at work), and takes its name under the folder's lock, since the log may have
been rotated on meanwhile. Killed at any moment it leaves at most a file that the next one removes.
"""

import fcntl
import os
import shutil
import sys


def compress_all(folder: int, name: str, files: int) -> None:
    """Until no plain part is left that nobody else is at work on."""
    skipped: set[int] = set()
    while True:
        for number in range(files - 1, 0, -1):
            try:
                source = os.open(f"{name}.{number}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
            except FileNotFoundError:
                continue
            if os.fstat(source).st_ino in skipped:
                os.close(source)
                continue
            break
        else:
            return
        try:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Of these alone: the number of one that we have compressed may be a later part's by now.
            skipped.add(os.fstat(source).st_ino)
            os.close(source)
            continue
        with open(source, "rb") as file:
            _compress(folder, name, files, file.fileno())


def _compress(folder: int, name: str, files: int, source: int) -> None:
    import gzip

    beside = f"{name}.gz-of-{os.fstat(source).st_ino}"
    target = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640, dir_fd=folder)
    try:
        with (
            open(target, "wb") as written,
            gzip.GzipFile("", "wb", 6, written, mtime=0) as packed,
            open(source, "rb", closefd=False) as plain,
        ):
            shutil.copyfileobj(plain, packed, 1 << 18)
        state = os.fstat(source)
        os.utime(beside, ns=(state.st_atime_ns, state.st_mtime_ns), dir_fd=folder)
        fcntl.flock(folder, fcntl.LOCK_EX)
        try:
            place = _place_of(folder, name, files, state.st_ino)
            if place:
                os.rename(beside, f"{place}.gz", src_dir_fd=folder, dst_dir_fd=folder)
                os.unlink(place, dir_fd=folder)
                beside = ""
        finally:
            fcntl.flock(folder, fcntl.LOCK_UN)
    finally:
        if beside:
            os.unlink(beside, dir_fd=folder)


def _place_of(folder: int, name: str, files: int, inode: int) -> str:
    """The part's name by now; "" when it has been rotated away."""
    for number in range(1, files):
        try:
            if os.stat(f"{name}.{number}", dir_fd=folder).st_ino == inode:
                return f"{name}.{number}"
        except FileNotFoundError:
            continue
    return ""


def main(path: str, files: int) -> None:
    """Quietly: a full disk, or a container removed meanwhile, leaves the parts as they are."""
    os.nice(10)
    try:
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        compress_all(folder, os.path.basename(path), files)
    except OSError:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
