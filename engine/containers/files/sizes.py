"""How much a container has written: `ps --size`, `inspect --size`."""

from __future__ import annotations

from pathlib import Path

from dosirak.engine.content.disk import files_below, total_size


def own_size(upper: str) -> int:
    """Bytes of everything in the upper directory but directories, each inode once, as Docker counts. Blocking."""
    return total_size(files_below(Path(upper)))
