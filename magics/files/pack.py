"""Local files into a tar, as a stream."""

# Path would drop the "/" and "/." at an end, which mean something here.
# ruff: noqa: PTH112, PTH114, PTH208

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator

_PIECE = 1 << 20


def pack(path: str, first: str, rename: Callable[[str], str]) -> Iterator[bytes]:
    """The tar of `path` with all below it.

    Parameters: `first` is what its entries' names begin with; `rename` changes them. Raises OSError.
    """
    writer = tarfile.TarFile(fileobj=io.BytesIO(), mode="w", format=tarfile.PAX_FORMAT)
    for place, name in _walk(path.rstrip("/") or "/", first):
        info = writer.gettarinfo(place, rename(name))
        if info is None:
            continue  # a socket
        info.mtime = int(info.mtime)
        info.uname = info.gname = ""
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if info.isreg():
            yield from _content(place, info.size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _walk(path: str, name: str) -> Iterator[tuple[str, str]]:
    yield path, name
    if os.path.isdir(path) and (not os.path.islink(path) or path.endswith("/.")):
        for entry in sorted(os.listdir(path)):
            yield from _walk(f"{path.rstrip('/')}/{entry}", f"{name}/{entry}")


def _content(path: str, size: int) -> Iterator[bytes]:
    left = size
    with open(path, "rb") as file:
        while left and (data := file.read(min(left, _PIECE))):
            left -= len(data)
            yield data
    while left:  # it has shrunk meanwhile
        yield bytes(min(left, _PIECE))
        left -= min(left, _PIECE)
    yield bytes(-size % tarfile.BLOCKSIZE)
