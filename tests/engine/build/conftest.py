"""A builder on real rooms and the real kernel, in this process."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.build import Builder, BuildRequest, model
from dosirak.engine.build.messages import render
from dosirak.engine.errors import EngineError
from dosirak.engine.images import Image
from dosirak.engine.runtime.overlay import open_overlay
from dosirak.engine.service.engine import Engine
from dosirak.engine.settings import Settings
from support.rootfs import busybox_tar


@dataclass
class Built:
    """How a build ended: its image or its error, its events, and what a classic client would have read."""

    image: Image | None = None
    error: EngineError | None = None
    events: list[model.Progress] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(message.get("stream", "") for message in render(self.events))

    @property
    def output(self) -> str:
        """What the steps' processes wrote."""
        said = (event.data for event in self.events if isinstance(event, model.StepOutput))
        return b"".join(said).decode()

    @property
    def cached(self) -> list[int]:
        """The steps that came from the cache."""
        return sorted(event.step for event in self.events if isinstance(event, model.StepCached))

    @property
    def ran(self) -> list[int]:
        """The steps whose process ran."""
        return sorted(event.step for event in self.events if isinstance(event, model.StepRunning))

    @property
    def layers(self) -> int:
        assert self.image is not None
        return len(self.image.layers)


class Rig:
    """An engine's rooms in this process, with "busybox" among its images, and shorthands."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings
        self.rooms: Any = engine.rooms

    @property
    def builder(self) -> Builder:
        return self.rooms.builder

    async def build(self, text: str | None, context: Any = None, **options: Any) -> Built:
        """Builds, and fails the test if the build does."""
        built = await self.try_build(text, context, **options)
        if built.error is not None:
            raise AssertionError(f"{built.error}\n{built.text}") from built.error
        return built

    async def try_build(self, text: str | None, context: Any = None, **options: Any) -> Built:
        built = Built()
        try:
            request = BuildRequest(context=context, dockerfile_text=text, **options)
            built.image = await self.builder.build(request, built.events.append)
        except EngineError as error:
            built.error = error
        return built

    async def error(self, text: str | None, context: Any = None, **options: Any) -> EngineError:
        """Builds, and fails the test unless the build does."""
        built = await self.try_build(text, context, **options)
        assert built.error is not None, built.text
        return built.error

    async def files(self, built: Built) -> dict[str, str]:
        """The image's files by path, with their content; links as "-> target", directories with a slash."""
        assert built.image is not None
        lowers = await self.rooms.images.lower_dirs(built.image)
        with merged(lowers) as root:
            return dict(_walk(root, ""))

    async def tree(self, built: Built) -> set[str]:
        """The paths of the image's files that busybox has not."""
        base = await self.build("FROM busybox\n")
        return set(await self.files(built)) - set(await self.files(base))

    def left(self) -> list[str]:
        """What a build may leave nothing of: its own directories, its steps' bundles, layers half made."""
        data = self.settings.data
        places = [data / "build", data / "containers", data / "layers/tmp"]
        return [str(path) for place in places if place.is_dir() for path in place.iterdir()]


@contextmanager
def merged(lowers: list[str]) -> Iterator[int]:
    """A root of these layers, to list and read."""
    mount = open_overlay(lowers)
    root = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=mount)  # a mount's own descriptor is O_PATH
    try:
        yield root
    finally:
        os.close(root)
        os.close(mount)


def _walk(directory: int, prefix: str) -> Iterator[tuple[str, str]]:
    for name in sorted(os.listdir(directory)):
        path = f"{prefix}/{name}"
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        kind = status.st_mode & 0o170000
        if kind == 0o120000:
            yield path, f"-> {os.readlink(name, dir_fd=directory)}"
        elif kind == 0o040000:
            yield f"{path}/", ""
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
            try:
                yield from _walk(fd, path)
            finally:
                os.close(fd)
        elif kind == 0o100000 and status.st_size < 100_000:
            with open(os.open(name, os.O_RDONLY, dir_fd=directory), "rb") as file:
                yield path, file.read().decode(errors="replace")
        else:
            yield path, ""


def tar(files: Mapping[str, str | bytes], mode: str = "w") -> bytes:
    """A tar archive with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


async def stream(data: bytes, piece: int = 1000) -> AsyncIterator[bytes]:
    """Bytes as a request's body comes."""
    for start in range(0, len(data), piece):
        yield data[start : start + piece]
        await asyncio.sleep(0)


def write(directory: Path, files: Mapping[str, str]) -> Path:
    """Files into a directory, which is returned."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return directory


@pytest.fixture
async def rig(settings: Settings) -> AsyncIterator[Rig]:
    """A builder with an engine of its own, ended after the test; nothing of a build may be left then."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces, mounts and control groups of the real kernel")
    settings.data.mkdir(parents=True, exist_ok=True)
    settings.run.mkdir(parents=True)
    engine = Engine(settings)
    await engine.start()
    try:
        made = Rig(engine, settings)
        await made.rooms.images.import_(stream(busybox_tar(), 1 << 20), "busybox", ["ENV PATH=/bin", "CMD sh"])
        yield made
        assert made.left() == []
    finally:
        await engine.close()
