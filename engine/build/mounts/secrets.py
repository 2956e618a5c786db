"""`--mount=type=secret`: a file in memory, there while the step runs. Its content is in no layer, key or log."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path

from dosirak.engine.build.dockerfile.mounts import Mount
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime import owners

_FOLDER = "/run/secrets"


def identity(mount: Mount) -> str:
    """The id that the caller gave the secret."""
    return mount.id or mount.source or posixpath.basename(mount.target)


def target(mount: Mount) -> str:
    """Where the secret's file is; "" when it is a variable only."""
    if mount.target or mount.env is not None:
        return mount.target
    return posixpath.join(_FOLDER, posixpath.basename(identity(mount)))


def find(mount: Mount, secrets: Mapping[str, bytes]) -> bytes | None:
    """The secret's content; None when the caller has none and the step can do without. Raises InvalidRequest."""
    found = secrets.get(identity(mount))
    if found is None and mount.required:
        raise InvalidRequest(f"secret {identity(mount)}: not found")
    return found


def variable(mount: Mount, content: bytes) -> str:
    """The secret as "NAME=value". Raises InvalidRequest when no variable can hold it."""
    if b"\0" in content:
        raise InvalidRequest(f"secret {identity(mount)}: a variable can't hold a zero byte: mount it as a file")
    return f"{mount.env or identity(mount)}={os.fsdecode(content)}"


def write(place: Path, number: int, mount: Mount, content: bytes) -> Path:
    """The secret's file below `place`, a directory in memory that is removed after the step. Raises OSError."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = place / f"secret{number}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(content)
        owners.give(fd, mount.uid or 0, mount.gid or 0)
        os.fchmod(fd, 0o400 if mount.mode is None else mount.mode & 0o777)
    return path
