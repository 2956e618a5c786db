"""A container's tar into local files. The container made it: no entry leads out of the directory it goes to.

Every component below that directory is opened without following links, so one that the archive brought, or found,
leads nowhere; what is there is replaced, never written through.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import tarfile
from collections.abc import Callable
from typing import IO

from dosirak.magics.errors import DosirakError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(stream: IO[bytes], directory: str, rename: Callable[[str], str], *, plain: bool = False) -> None:
    """Extract into the directory; files belong to whoever runs this. Raises DosirakError in Docker's words.

    Parameters: `plain`: as a build's output, of which only files, links and directories are of use, without
    set-user-ID, and where a directory takes the place of a file.
    """
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    directories: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as archive:
            for info in archive:
                if plain:
                    if info.isdev():
                        continue
                    info.mode &= 0o777
                name = _name(rename(info.name), info.name)
                if name:
                    _entry(archive, info, root, name, directory, rename, plain)
                    if info.isdir():
                        directories[name] = (info.mode, int(info.mtime))
        # Last, for a mode may forbid writing, and writing changes a time.
        for name, (mode, mtime) in reversed(directories.items()):
            fd = _open(root, name)
            try:
                os.fchmod(fd, mode)
                os.utime(fd, (mtime, mtime))
            finally:
                os.close(fd)
    except tarfile.TarError as error:
        raise DosirakError(f"the engine's archive can't be read: {error}") from error
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else directory
        raise DosirakError(f"{where}: {os.strerror(error.errno or 0).lower()}") from error
    finally:
        os.close(root)


def _name(name: str, original: str) -> str:
    """Relative and clean; "" for the directory itself."""
    cleaned = posixpath.normpath(name.lstrip("/") or ".")
    if cleaned == ".." or cleaned.startswith("../") or "\0" in cleaned:
        raise DosirakError(f'invalid entry name "{original}"')
    return "" if cleaned == "." else cleaned


def _entry(
    archive: tarfile.TarFile,
    info: tarfile.TarInfo,
    root: int,
    name: str,
    directory: str,
    rename: Callable[[str], str],
    plain: bool,
) -> None:
    head, _, last = name.rpartition("/")
    parent = _open(root, head, create=True)
    try:
        exists = _make_room(parent, last, info, name, directory, plain)
        if info.isdir():
            if not exists:
                os.mkdir(last, 0o700, dir_fd=parent)
        elif info.issym():
            os.symlink(info.linkname, last, dir_fd=parent)
        elif info.islnk():
            with contextlib.suppress(*([FileNotFoundError] if plain else [])):  # one of a device
                _link(root, _name(rename(info.linkname), info.linkname), parent, last)
        elif info.isreg():
            _file(archive, info, parent, last)
        else:
            _node(info, parent, last)
        if not info.isdir() and not info.islnk():
            times = (int(info.mtime), int(info.mtime))
            os.utime(last, times, dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)


def _make_room(parent: int, last: str, info: tarfile.TarInfo, name: str, directory: str, plain: bool) -> bool:
    """Remove what a new entry replaces; True if it is a directory that stays."""
    try:
        fd = os.open(last, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        if info.isdir() and not plain:
            raise DosirakError(
                f'cannot overwrite non-directory "{posixpath.join(directory, name)}" with directory "{directory}"'
            ) from error
        os.unlink(last, dir_fd=parent)
        return False
    os.close(fd)
    if not info.isdir():
        raise DosirakError(
            f'cannot overwrite directory "{posixpath.join(directory, name)}" with non-directory "{directory}"'
        )
    return True


def _open(root: int, path: str, *, create: bool = False) -> int:
    """A directory below the root, by no symlink; missing ones are made if asked. Raises OSError."""
    fd = os.open(".", _DIRECTORY, dir_fd=root)
    for part in path.split("/") if path else ():
        try:
            try:
                child = os.open(part, _DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                if not create:
                    raise
                os.mkdir(part, 0o755, dir_fd=fd)
                child = os.open(part, _DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = child
    return fd


def _file(archive: tarfile.TarFile, info: tarfile.TarInfo, parent: int, last: str) -> None:
    content = archive.extractfile(info)
    with os.fdopen(os.open(last, _NEW, 0o600, dir_fd=parent), "wb") as file:
        while content is not None and (data := content.read(1 << 20)):
            file.write(data)
        file.flush()
        os.fchmod(file.fileno(), info.mode)


def _link(root: int, target: str, parent: int, last: str) -> None:
    head, _, name = target.rpartition("/")
    source = _open(root, head)
    try:
        os.link(name, last, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(source)


def _node(info: tarfile.TarInfo, parent: int, last: str) -> None:
    import stat

    kind = {tarfile.FIFOTYPE: stat.S_IFIFO, tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK}.get(info.type)
    if kind is None:
        return
    device = os.makedev(info.devmajor, info.devminor) if kind != stat.S_IFIFO else 0
    os.mknod(last, kind | 0o600, device, dir_fd=parent)
    os.chmod(last, info.mode, dir_fd=parent)
