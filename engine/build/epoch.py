"""SOURCE_DATE_EPOCH: the same input twice is the same image, to the digest (reproducible-builds.org)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from dosirak.engine.build.threads import Stop
from dosirak.engine.build.workspace import opened
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime import inroot
from dosirak.engine.runtime.syscalls import RESOLVE_NO_SYMLINKS

ARGUMENT = "SOURCE_DATE_EPOCH"
_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NUMBER = re.compile(r"[0-9]{1,11}", re.ASCII)


def source_date(arguments: Mapping[str, str | None]) -> int | None:
    """The build argument's value, unix seconds; None without one. Raises InvalidRequest."""
    text = arguments.get(ARGUMENT)
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise InvalidRequest(f"invalid {ARGUMENT}: {text[:40]!r}: seconds since 1970 are needed")
    return int(text)


def clamp(upper: Path, seconds: int, stop: Stop) -> None:
    """Makes nothing in a layer's directory younger than that time, the directory itself included.

    Blocking; for a tree that nobody is at work in. Raises OSError, Stopped.
    """
    latest = seconds * 10**9
    with opened(upper) as root:
        pending = [b""]
        while pending:
            stop.check()
            path = pending.pop()
            # each anew by its path: with one descriptor a level, a deep tree would exhaust them
            directory = inroot.open_in_root(root, path or b".", _OPEN_DIR, resolve=RESOLVE_NO_SYMLINKS)
            try:
                pending += [path + b"/" + name if path else name for name in _clamp_entries(directory, latest)]
                _set(directory, os.fstat(directory), latest)
            finally:
                os.close(directory)


def _clamp_entries(directory: int, latest: int) -> list[bytes]:
    """The entries of one directory; returns the directories among them, whose own times come later."""
    directories = []
    for name in os.listdir(directory):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            directories.append(os.fsencode(name))
        elif status.st_mtime_ns > latest:
            os.utime(name, ns=(latest, latest), dir_fd=directory, follow_symlinks=False)
    return directories


def _set(directory: int, status: os.stat_result, latest: int) -> None:
    if status.st_mtime_ns > latest:
        os.utime(directory, ns=(latest, latest))
