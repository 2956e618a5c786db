"""Paths of a container as `docker cp` reads them. What touches the disk does so inside the container's root only."""

from __future__ import annotations

import errno
import os
import posixpath
from collections import deque

from dosirak.engine.runtime.inroot import open_in_root

_MOST_LINKS = 255


def clean(path: str) -> str:
    """An absolute path without ".." and "//"; a trailing "/" or "/." stays, for it asks for a directory."""
    cleaned = "/" + posixpath.normpath(f"/{path}").lstrip("/")
    if base(path) == ".":
        return f"{cleaned.rstrip('/')}/."
    if path.endswith("/") and not cleaned.endswith("/"):
        return f"{cleaned}/"
    return cleaned


def base(path: str) -> str:
    """The last component as Go's filepath.Base has it: "/" for the root, "." for nothing and for ".../."."""
    return path.rstrip("/").rpartition("/")[2] or ("/" if path else ".")


def follow(root: int, path: str) -> str:
    """Where `path` leads with every symlink followed inside the root; as far as it exists, the rest as it stands.

    For people and for comparing, not for opening: what it says may be wrong a moment later. Raises OSError, ELOOP.
    """
    pending = deque(path.split("/"))
    done: list[str] = []
    links = 0
    while pending:
        part = pending.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        target = _read_link(root, "/".join(done), part)
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            done = []
        pending.extendleft(reversed(target.split("/")))
    return "/" + "/".join(done)


def _read_link(root: int, directory: str, name: str) -> str | None:
    try:
        parent = open_in_root(root, directory, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError:
        return None
    finally:
        os.close(parent)


def lies_in(path: str, directory: str) -> bool:
    """Whether a clean path is the directory or below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")
