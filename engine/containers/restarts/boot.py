"""Which boot of the machine the containers were last looked after in."""

from __future__ import annotations

import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)
_CURRENT = Path("/proc/sys/kernel/random/boot_id")
_MARK = "boot-id"


def changed(data: Path) -> bool:
    """Whether the machine has booted since `note`. Parameters: `data`: the engine's data directory."""
    try:
        return (data / _MARK).read_text() != _CURRENT.read_text()
    except OSError:
        return False  # a new engine


def note(data: Path) -> None:
    """What a boot asks for has been done."""
    beside = data / f"{_MARK}.new"
    try:
        beside.write_text(_CURRENT.read_text())
        os.replace(beside, data / _MARK)  # noqa: PTH105
    except OSError as error:
        _log.warning("%s: %s", data / _MARK, error)
