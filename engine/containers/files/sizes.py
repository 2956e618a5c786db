"""How much a container has written: `ps --size`, `inspect --size`."""

from __future__ import annotations

import os


def own_size(upper: str) -> int:
    """Bytes of everything in the upper directory but directories, each inode once, as Docker counts. Blocking."""
    total = 0
    seen: set[int] = set()
    pending = [upper]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                        continue
                    info = entry.stat(follow_symlinks=False)
                    if info.st_nlink > 1:
                        if info.st_ino in seen:
                            continue
                        seen.add(info.st_ino)
                    total += info.st_size
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed meanwhile by the container
    return total
