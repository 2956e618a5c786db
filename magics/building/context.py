"""A build's context: a folder where it lies, or as a tar stream, without what `.dockerignore` names, as the docker CLI
sends it."""

from __future__ import annotations

import io
import os
import secrets
import stat
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dosirak.magics.errors import DosirakError

_PIECE = 1 << 20
_RANDOM = ".dockerfile."


@dataclass(frozen=True, slots=True)
class Source:
    """A build's context as this side has it.

    `archive` is its tar stream, in which `name` is the Dockerfile. `folder` is where it lies, None when it is a stream
    and nothing else; `dockerfile` is the Dockerfile's path in there, `text` the Dockerfile itself when it is no file
    of the folder. `remote`: the URL that the engine gets it from, in place of all that.
    """

    name: str
    archive: Iterator[bytes]
    folder: Path | None = None
    dockerfile: str = "Dockerfile"
    text: str | None = None
    remote: str = ""

    def words(self, message: str) -> str:
        """A message of the engine's as a person knows things: a Dockerfile of a cell travels under a random name."""
        return message.replace(self.name, "Dockerfile") if self.name.startswith(_RANDOM) else message


def source(folder: Path, dockerfile: str, text: str | None = None) -> Source:
    """Return a folder as a context; nothing of it is read until the stream is. Parameters and errors as `stream`."""
    name, archive = stream(folder, dockerfile, text)
    return Source(name, archive, folder, "Dockerfile" if text is not None else dockerfile, text)


def stream(folder: Path, dockerfile: str, text: str | None = None) -> tuple[str, Iterator[bytes]]:
    """Return (the Dockerfile's name in the context, the tar stream).

    Parameters: `dockerfile` is a path within `folder`, or `text` is the Dockerfile itself: it then travels under a
    random name that `.dockerignore` is told of, so that `COPY .` does not take it.

    Raises DosirakError when the folder or the Dockerfile is not there.
    """
    if not folder.is_dir():
        raise DosirakError(f"unable to prepare context: path {str(folder)!r} not found".replace("'", '"'))
    if text is not None:
        name = f"{_RANDOM}{secrets.token_hex(10)}"
        return name, _batched(_archive(folder, name, text))
    if not (folder / dockerfile).is_file():
        raise DosirakError(f"unable to evaluate symlinks in Dockerfile path: {folder / dockerfile}: no such file")
    return dockerfile, _batched(_archive(folder, dockerfile, None))


def _archive(folder: Path, dockerfile: str, text: str | None) -> Iterator[bytes]:
    patterns = _patterns(folder, dockerfile if text is None else "")
    for path in _walk(folder, patterns, dockerfile):
        if text is not None and path == ".dockerignore":
            continue
        try:
            yield from _member(folder, path)
        except FileNotFoundError:
            continue  # gone since it was listed
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise DosirakError(f"error sending the build context: {folder / path}: {reason}") from error
    if text is not None:
        ignore = "\n".join([*_ignore_lines(folder), ".dockerignore", dockerfile, ""])
        yield from _text(".dockerignore", ignore)
        yield from _text(dockerfile, text)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _batched(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in fewer pieces: each one is a chunk of the request and a system call."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _ignore_lines(folder: Path) -> list[str]:
    try:
        return (folder / ".dockerignore").read_text(errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []


def _patterns(folder: Path, dockerfile: str) -> list[str]:
    """Return the ignore rules that apply here, as docker-py's matcher takes them."""
    own = folder / f"{dockerfile}.dockerignore"
    lines = own.read_text().splitlines() if dockerfile and own.is_file() else _ignore_lines(folder)
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _walk(folder: Path, patterns: list[str], dockerfile: str) -> Iterator[str]:
    """Yield the members' paths in order; the Dockerfile and `.dockerignore` always come along."""
    if not patterns:
        yield from _everything(folder, "")
        return
    from docker.utils.build import exclude_paths

    always = [f"!{name}" for name in (".dockerignore", dockerfile) if name]
    kept = exclude_paths(str(folder), [*patterns, *always], dockerfile=(dockerfile, dockerfile))
    # "" stands for the folder itself.
    yield from sorted(path for path in kept if path and os.path.lexists(folder / path))


def _everything(folder: Path, inside: str) -> Iterator[str]:
    with os.scandir(folder / inside) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{inside}/{entry.name}" if inside else entry.name
            yield path
            if entry.is_dir(follow_symlinks=False):
                yield from _everything(folder, path)


def _member(folder: Path, path: str) -> Iterator[bytes]:
    full = folder / path
    status = full.lstat()
    member = tarfile.TarInfo(path)
    member.mode = stat.S_IMODE(status.st_mode)
    member.mtime = int(status.st_mtime)
    if stat.S_ISREG(status.st_mode):
        yield from _file(full, member)
        return
    if stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(full)  # noqa: PTH115
    elif stat.S_ISFIFO(status.st_mode):
        member.type = tarfile.FIFOTYPE
    else:
        return  # sockets and devices have no place in a context
    yield member.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")


def _file(full: Path, member: tarfile.TarInfo) -> Iterator[bytes]:
    with full.open("rb") as file:
        member.size = left = os.fstat(file.fileno()).st_size
        yield member.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
        while left:
            piece = file.read(min(_PIECE, left))
            if not piece:
                raise DosirakError(f"{full}: became shorter while it was read")
            left -= len(piece)
            yield piece
    yield b"\0" * (-member.size % tarfile.BLOCKSIZE)


def _text(name: str, text: str) -> Iterator[bytes]:
    data = io.BytesIO(text.encode(errors="surrogateescape"))
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(data.getvalue()), 0o600, int(time.time())
    yield member.tobuf(tarfile.PAX_FORMAT)
    yield data.getvalue()
    yield b"\0" * (-member.size % tarfile.BLOCKSIZE)
