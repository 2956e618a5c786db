"""How much of the cache is kept without anybody pruning: `[build]` in dosirak.toml."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dosirak.engine import settings
from dosirak.engine.build.cache.usage import Room
from dosirak.engine.containers.units import parse_size
from dosirak.engine.errors import InvalidRequest

_SHARE = 10
_LEAST = 2_000_000_000


def room(data: Path) -> Room | None:
    """What `[build] cache_size` says ("20GB", bytes, false: no limit); without it a tenth of the disk, at least 2 GB.

    Parameters: `data` is where the engine keeps its things. Raises InvalidRequest for another value.
    """
    table = settings.read_file(data / "dosirak.toml").get("build") or settings.config_file().get("build") or {}
    if not isinstance(table, dict):
        raise InvalidRequest("dosirak.toml: build: a table is needed, [build]")
    value = table.get("cache_size", True)
    if value is False:
        return None
    if value is True:
        return Room(most=max(_LEAST, shutil.disk_usage(_existing(data)).total // _SHARE))
    size = parse_size(value) if isinstance(value, str) else value if isinstance(value, int) else None
    if size is None or size < 0:
        raise InvalidRequest(f'dosirak.toml: [build] cache_size = {value!r}: a size is needed, as "20GB"')
    return Room(most=size)


def free(data: Path) -> int:
    """Bytes that are left on the disk of the engine's things."""
    return shutil.disk_usage(_existing(data)).free


def _existing(path: Path) -> str:
    return os.fspath(path if path.exists() else path.parent)
