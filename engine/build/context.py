"""A build's context: a directory in place, or a tar stream unpacked beside it; its Dockerfile; its ignore rules."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from dosirak.engine.build.copying import is_archive
from dosirak.engine.build.entries import Source
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.build.ignore import Ignore, read_patterns
from dosirak.engine.build.inputs import Folder, Remote
from dosirak.engine.build.model import BuildRequest
from dosirak.engine.build.paths import inside
from dosirak.engine.build.remote import Fetching
from dosirak.engine.build.workspace import opened
from dosirak.engine.errors import InvalidRequest, NotSupported
from dosirak.engine.layers.compression import decompressed
from dosirak.engine.layers.extract import extract
from dosirak.engine.layers.feed import consume
from dosirak.engine.runtime import inroot

_LARGEST = 4 << 20
_PIECE = 1 << 20
_DEFAULT = "Dockerfile"
_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class BuildContext:
    """An open context. `dockerfile` is the Dockerfile's text, `filename` its name for errors, `ignored` the patterns
    of what is left out; `named` are the further contexts that are folders. To be closed."""

    def __init__(self, source: Source, dockerfile: str | bytes, filename: str, ignored: list[str]) -> None:
        self.source = source
        self.named: dict[str, Source] = {}
        self.ignored = tuple(ignored)
        self.dockerfile = dockerfile
        self.filename = filename

    def close(self) -> None:
        """Lets go of the directories."""
        for source in (self.source, *self.named.values()):
            os.close(source.root)

    def open_named(self, contexts: Mapping[str, Folder | str]) -> None:
        """Opens the named contexts that are folders, each with its own ignore rules. Raises InvalidRequest."""
        for name, folder in contexts.items():
            if isinstance(folder, Folder):
                root = folder.open()
                self.named[name] = Source(root, context=True)  # from here on `close` knows it
                self.named[name] = Source(root, Ignore(_ignore_patterns(root, "")), context=True)


async def open_context(request: BuildRequest, place: Path, fetch: Fetching | None = None) -> BuildContext:
    """Opens the request's context and reads its Dockerfile.

    Parameters: `place` is a directory of this build alone, in which a stream is unpacked; `fetch` opens a URL.
    Raises InvalidRequest when the context or the Dockerfile can't be read, NotFound, Unreachable.
    """
    if isinstance(request.context, Remote):
        return await _fetch(request, request.context.url, place, fetch)
    if isinstance(request.context, AsyncIterable):
        directory = place / "context"
        directory.mkdir(mode=0o755)
        await _unpack(request.context, directory)
        return await asyncio.to_thread(_open, request, directory, False)
    if request.context is not None:
        return await asyncio.to_thread(_open, request, request.context, True)
    empty = place / "context"
    empty.mkdir(mode=0o755)
    return await asyncio.to_thread(_open, request, empty, True)


async def _fetch(request: BuildRequest, url: str, place: Path, fetch: Fetching | None) -> BuildContext:
    """The context at a URL: what is no archive is a Dockerfile without a context."""
    if fetch is None or not url.lower().startswith(("http://", "https://")):
        raise NotSupported(f"building from {url[:200]} is not supported by this engine yet: a URL is one of HTTP(S)")
    directory = place / "context"

    def unpack(body: BinaryIO) -> bytes | None:
        directory.mkdir(mode=0o755)
        with (place / "remote").open("w+b") as file:
            shutil.copyfileobj(body, file, _PIECE)
            file.seek(0)
            if not is_archive(file):
                file.seek(0)
                return file.read(_LARGEST + 1)
            file.seek(0)
            with opened(directory) as root:
                extract(decompressed(file), root, whiteouts=False)
        return None

    async with fetch(url) as download:
        text = await consume(download.body, unpack)
    if text is None:
        return await asyncio.to_thread(_open, request, directory, False)
    if len(text) > _LARGEST:
        raise InvalidRequest(f"{url[:200]}: neither an archive nor a Dockerfile: larger than {_LARGEST} bytes")
    alone = replace(request, dockerfile="", dockerfile_text=text.decode(errors="surrogateescape"))
    return await asyncio.to_thread(_open, alone, directory, False)


async def _unpack(stream: AsyncIterable[bytes], directory: Path) -> None:
    fd = os.open(directory, _OPEN_DIR)

    def work(file: BinaryIO) -> None:
        extract(decompressed(file), fd, whiteouts=False)

    try:
        await consume(stream, work)
    finally:
        os.close(fd)


def _open(request: BuildRequest, directory: Path | Folder, apply_ignore: bool) -> BuildContext:
    root = directory.open() if isinstance(directory, Folder) else _open_directory(directory)
    try:
        name, text = _dockerfile(root, request)
        patterns = _ignore_patterns(root, name if request.dockerfile_text is None else "")
        ignore = Ignore(patterns) if apply_ignore else _hiding(name, patterns)
        context = BuildContext(Source(root, ignore, context=True), text, name, patterns)
    except BaseException:
        os.close(root)
        raise
    try:
        context.open_named(request.inputs.contexts)
    except BaseException:
        context.close()
        raise
    return context


def _open_directory(directory: Path) -> int:
    try:
        return os.open(directory, _OPEN_DIR)
    except OSError as error:
        raise InvalidRequest(f'unable to prepare context: path "{directory}": {error.strerror}') from error


def _dockerfile(root: int, request: BuildRequest) -> tuple[str, str | bytes]:
    name = request.dockerfile or _DEFAULT
    if request.dockerfile_text is not None:
        text: str | bytes | None = request.dockerfile_text
    else:
        text = _read(root, name)
        if text is None and name == _DEFAULT:
            text = _read(root, _DEFAULT.lower())
    if text is None:
        raise InvalidRequest(f"Cannot locate specified Dockerfile: {name}")
    if not text:
        raise DockerfileError(f"the Dockerfile ({name}) cannot be empty")
    return name, text


def _read(root: int, name: str) -> bytes | None:
    """A file of the context; links lead nowhere but inside it. None when there is none."""
    try:
        return inroot.read_file(root, name, _LARGEST)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        reason = f"larger than {_LARGEST} bytes" if error.errno == errno.EFBIG else error.strerror
        raise InvalidRequest(f"{name}: can't be read: {reason}") from error


def _ignore_patterns(root: int, dockerfile: str) -> list[str]:
    """`NAME.dockerignore` beside the Dockerfile, where it is a file of the context, goes before `.dockerignore`."""
    text = _read(root, f"{dockerfile}.dockerignore")
    if text is None:
        text = _read(root, ".dockerignore")
    return read_patterns(text or b"")


def _hiding(dockerfile: str, patterns: list[str]) -> Ignore:
    """A client that sends a tar has applied the patterns, but had to send these two, for the engine to read."""
    ignore = Ignore(patterns)
    hidden = [name for name in (".dockerignore", inside(dockerfile)) if ignore.excludes(name)]
    return Ignore("".join(f"\\{char}" for char in name) for name in hidden)
