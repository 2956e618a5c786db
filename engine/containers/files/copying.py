"""`docker cp` and `docker export`: files of a container as a tar, out and in. Blocking, in a view's thread."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO

from dosirak.engine.containers.files import paths
from dosirak.engine.containers.files.model import PathStat
from dosirak.engine.containers.files.planning import tmpfs_places
from dosirak.engine.containers.model import Container
from dosirak.engine.errors import EngineError, InvalidRequest, NotFound
from dosirak.engine.layers.compression import decompressed
from dosirak.engine.layers.extract import Into, extract
from dosirak.engine.layers.pack import Packer, Piece
from dosirak.engine.runtime import users
from dosirak.engine.runtime.inroot import open_in_root, open_parent

Owners = Callable[[int], int] | None
Deliver = Callable[[PathStat, Iterator[Piece]], None]
"""Takes what a path is and its tar; called in the view's thread, where the pieces have to be consumed."""


def path_stat(root: int, path: str, ref: str) -> PathStat:
    """What is at `path`; of a symlink at its end, the link itself. Raises NotFound in Docker's words, EngineError."""
    try:
        fd = open_in_root(root, os.fsencode(path), os.O_PATH | os.O_NOFOLLOW)
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        target = paths.follow(root, path) if stat.S_ISLNK(found.st_mode) else ""
    except OSError as error:
        raise failure(error, path, ref) from error
    # A target may be no UTF-8: what the answer can't hold is shown as Go's JSON does.
    target = os.fsencode(target).decode("utf-8", "replace")
    return PathStat(
        name=paths.base(path), size=found.st_size, mode=found.st_mode, mtime=found.st_mtime_ns, link_target=target
    )


def failure(error: OSError, path: str, ref: str) -> EngineError:
    """What Docker says when a path can't be opened."""
    if error.errno == errno.ENOENT:
        return NotFound(f"Could not find the file {path} in container {ref}")
    return EngineError(f"lstat {path}: {os.strerror(error.errno or 0).lower()}")


def archive(root: int, path: str, ref: str, deliver: Deliver, owners: Owners = None) -> None:
    """Deliver what is at `path` with all below it; the entries' names begin with its last component.

    Parameters: `owners`: which ids inside the container those of the view's files are; None: the same. Raises NotFound,
    EngineError before anything is delivered.
    """
    path = paths.clean(path)
    found = path_stat(root, path, ref)
    raw, name = os.fsencode(path), os.fsencode(paths.base(path))
    is_directory = stat.S_ISDIR(found.mode)
    try:
        if is_directory:
            opened, entry = open_in_root(root, raw, os.O_PATH | os.O_DIRECTORY), b""
        else:
            opened, entry = open_parent(root, raw)
    except OSError as error:
        raise failure(error, path, ref) from error
    try:
        if is_directory:
            prefix = name.rstrip(b"/") + b"/"
            packer = Packer(opened, as_layer=False, root_name=prefix, prefix=prefix, owners=owners)
            deliver(found, packer.pieces())
        else:
            deliver(found, Packer(opened, as_layer=False, owners=owners).file(opened, entry, name))
    finally:
        os.close(opened)


def unpack(
    root: int,
    path: str,
    ref: str,
    record: Container,
    source: BinaryIO,
    *,
    copy_ids: bool,
    keep_kinds: bool,
    owners: Owners = None,
) -> None:
    """Extract a tar (compressed or not) into the directory at `path`, which may be a symlink to one.

    Parameters: `copy_ids`: everything belongs to the container's user; `keep_kinds`: no directory takes the place of
    anything else, nor the other way round; `owners`: which ids in the view those inside the container are; None: the
    same. Raises NotFound, InvalidRequest, EngineError, HostLimit.
    """
    raw = os.fsencode(path)
    try:
        fd = open_in_root(root, raw, os.O_PATH)
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise InvalidRequest("extraction point is not a directory")
        finally:
            os.close(fd)
        _check_writable(record, paths.follow(root, path))
    except OSError as error:
        raise failure(error, path, ref) from error
    owner = _user(root, record.config.user) if copy_ids and record.config.user else None
    # Decompressed in this process, whatever the image calls xz (CVE-2026-41567).
    plain = decompressed(source)
    try:
        into = Into(base=raw.lstrip(b"/"), owner=owner, keep_kinds=keep_kinds, owners=owners)
        extract(plain, root, whiteouts=False, into=into)
    except OSError as error:
        raise EngineError(f"{error.filename or path}: {os.strerror(error.errno or 0).lower()}") from error


def _check_writable(record: Container, path: str) -> None:
    """Docker's refusals. What really keeps anything from being written are the view's own mounts."""
    if any(paths.lies_in(path, place) for place in tmpfs_places(record)):
        return
    plans = [plan for plan in record.mount_plans if paths.lies_in(path, plan.destination)]
    if plans:
        if not max(plans, key=lambda plan: len(plan.destination)).rw:
            raise InvalidRequest("mounted volume is marked read-only")
    elif record.host_config.readonly_rootfs:
        raise InvalidRequest("container rootfs is marked read-only")


def _user(root: int, user: str) -> tuple[int, int]:
    try:
        uid, gid, _, _ = users.resolve(root, user)
    except users.UnknownUser as error:
        raise InvalidRequest(str(error)) from error
    return uid, gid


def whole(root: int, owners: Owners = None) -> Iterator[Piece]:
    """The root filesystem as a tar, as `docker export` writes it: without an entry for the root itself.

    Parameters: `owners`: as in `archive`.
    """
    return Packer(root, as_layer=False, root_name=None, owners=owners).pieces()
