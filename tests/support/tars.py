"""Small tars, made by the standard library's `tarfile`: a second opinion on the format."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from typing import Any

KINDS = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "link": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}


def member(name: str, kind: str = "file", content: bytes | str = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One entry; for links `content` is the target. `fields`: TarInfo's (mode, uid, mtime, devmajor, pax_headers…)."""
    info = tarfile.TarInfo(name)
    info.type = KINDS[kind]
    info.mode = 0o755 if kind == "dir" else 0o644
    data = content.encode() if isinstance(content, str) else content
    if kind in ("symlink", "link"):
        info.linkname = data.decode()
    if kind != "file":
        data = b""
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar(members: Iterable[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.PAX_FORMAT) -> bytes:
    """The tar of these entries, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def files(**content: bytes | str) -> bytes:
    """A tar of files with these contents."""
    return tar(member(name, "file", data) for name, data in content.items())
