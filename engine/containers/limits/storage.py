"""`--storage-opt size=`: how much a container may write, where the filesystem of the data directory can bound it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from dosirak.engine.containers.units import parse_size
from dosirak.engine.errors import HostLimit, InvalidRequest, NotSupported
from dosirak.engine.runtime import quota

_log = logging.getLogger(__name__)
# What a container writes, and where overlayfs prepares it.
_DIRECTORIES = ("upper", "work")
# Above the numbers that people give to projects of their own.
_FIRST_PROJECT = 1 << 29


def parse(options: Mapping[str, str]) -> int:
    """The size in bytes, 0 without one. Raises InvalidRequest."""
    size = 0
    for key, value in options.items():
        if key.lower() != "size":
            raise InvalidRequest(f"Unknown option {key.lower()}")
        size = parse_size(value, 1024)
    return size


def bound(directory: Path, container_id: str, options: Mapping[str, str]) -> None:
    """Bound a new bundle. Raises NotSupported where the filesystem can't, HostLimit."""
    if not (size := parse(options)):
        return
    if not quota.enforced(str(directory)):
        raise NotSupported("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    # Of the id, so that engines on one filesystem seldom want the same; the next where it is taken.
    project = _FIRST_PROJECT + int(container_id[:7], 16)
    try:
        while quota.used(str(directory), project):
            project += 1
        for name in _DIRECTORIES:
            quota.assign(f"{directory}/{name}", project)
        quota.limit(str(directory), project, size)
    except OSError as error:
        raise HostLimit(f"{directory}: storage size: {os.strerror(error.errno or 0).lower()}") from error


def release(directory: Path) -> None:
    """A bounded bundle goes: its project may be another's once it holds nothing."""
    try:
        if project := quota.project_of(f"{directory}/upper"):
            quota.limit(str(directory), project, 0)
    except OSError as error:
        _log.warning("%s: its quota can't be taken back: %s", directory, error)
