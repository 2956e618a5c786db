"""A containers room on real rooms, real kernel, in this process: no service and no HTTP between a test and the code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from dataclasses import dataclass

import msgspec
import pytest

from dosirak.engine.containers import Containers, CreateRequest, ExecConfig, HostConfig, LogQuery
from dosirak.engine.content import Index, Store
from dosirak.engine.errors import NotFound
from dosirak.engine.images import ImageConfig, Images, RunConfig
from dosirak.engine.layers import Layers
from dosirak.engine.networks import Networks
from dosirak.engine.state import Database, Events
from dosirak.engine.supervision.client import Launcher
from dosirak.engine.supervision.model import Attach
from dosirak.engine.volumes import Volumes
from support.rootfs import busybox_tar


@dataclass
class Ran:
    """How a container ended, and what it said."""

    code: int
    out: str
    err: str
    id: str


async def chunks(data):
    """A stream of one piece."""
    yield data


class Shelf:
    """Content and layers with the image "busybox", shared by all tests: rooms come and go, these stay."""

    def __init__(self, directory):
        self.store = Store(directory / "content")
        self.index = Index(directory / "content")
        self.layers = Layers(directory / "layers", self.store)

    async def fill(self):
        """Import busybox and give it a configuration."""
        images = self.images()
        made = await images.import_(chunks(busybox_tar()), "plain")
        config = ImageConfig(
            architecture=made.config.architecture,
            os="linux",
            config=RunConfig(cmd=["sh"], env=["PATH=/bin", "FROM_IMAGE=yes"]),
        )
        await images.commit(config, await images.layer_infos(made), ["busybox"])

    def images(self):
        """The images room on this shelf."""
        return Images(self.store, self.index, self.layers)


class Rig:
    """The rooms, and shorthands for what every test does."""

    def __init__(self, settings, shelf):
        self.settings, self.shelf = settings, shelf

    async def open(self):
        """Put the rooms together, as the service does on its start."""
        self.settings.data.mkdir(parents=True, exist_ok=True)
        self.settings.run.mkdir(parents=True, exist_ok=True)
        self.db = Database(self.settings.data / "state.db")
        self.events = Events()
        self.networks = Networks(self.db, self.settings, self.events)
        self.volumes = Volumes(self.settings, self.db, self.events)
        self.images = self.shelf.images()
        self.launcher = Launcher()
        await self.launcher.start()
        self.containers = Containers(
            self.settings, self.db, self.images, self.networks, self.volumes, self.launcher, self.events
        )
        await self.networks.start()
        await self.containers.adopt_all()
        await self.networks.readopt(self.containers.network_namespaces())
        await self.containers.resume()

    async def close(self):
        """Let go of everything; containers run on."""
        await self.containers.close()
        await self.networks.close()
        await self.launcher.close()
        self.db.close()

    async def end(self):
        """Remove every container, and close."""
        for entry in self.containers.list(all=True):
            with contextlib.suppress(NotFound):
                await self.containers.remove(entry.id, force=True, volumes=True)
        await self.close()

    async def image(self, **config):
        """busybox with another configuration; the image's name."""
        base = await self.images.resolve("busybox")
        changed = msgspec.structs.replace(base.config.config, **config)
        whole = msgspec.structs.replace(base.config, config=changed)
        name = f"variant:{secrets.token_hex(4)}"
        await self.images.commit(whole, await self.images.layer_infos(base), [name])
        return name

    async def create(self, *cmd, name=None, host=None, image="busybox", **config):
        """A container of busybox; network none unless asked. Returns its id."""
        body = CreateRequest(
            image=image,
            cmd=list(cmd) or None,
            host_config=HostConfig(**{"network_mode": "none", **(host or {})}),
            **config,
        )
        return (await self.containers.create(body, name)).id

    async def start(self, *cmd, **options):
        """A started container's id."""
        container_id = await self.create(*cmd, **options)
        await self.containers.start(container_id)
        return container_id

    async def run(self, *cmd, **options):
        """Run a container to its end."""
        container_id = await self.create(*cmd, **options)
        waiter = self.containers.wait(container_id, "next-exit")
        await self.containers.start(container_id)
        result = await asyncio.wait_for(waiter, 30)
        return Ran(
            result.code, await self.log(container_id, "stdout"), await self.log(container_id, "stderr"), container_id
        )

    async def log(self, container_id, stream="stdout"):
        """What a container has logged on one stream."""
        query = LogQuery(stdout=stream == "stdout", stderr=stream == "stderr")
        return b"".join([record.data async for record in self.containers.logs(container_id, query)]).decode()

    async def exec_code(self, exec_id):
        """Wait for the end of an exec; its exit code."""
        async with asyncio.timeout(30):
            while (code := self.containers.exec_inspect(exec_id).exit_code) is None:
                await asyncio.sleep(0.01)
        return code

    async def exec(self, container_id, *cmd, **config):
        """Run an exec to its end: exit code, stdout, stderr."""
        exec_id = self.containers.exec_create(container_id, ExecConfig(cmd=list(cmd), **config))
        ours, theirs = socket.socketpair()
        await self.containers.exec_start(exec_id, Attach(theirs))
        out, err = await frames(ours)
        return await self.exec_code(exec_id), out, err


async def frames(sock, limit=30.0):
    """Read a multiplexed stream to its end: (stdout, stderr)."""
    reader, writer = await asyncio.open_connection(sock=sock)
    found = {1: b"", 2: b""}
    try:
        async with asyncio.timeout(limit):
            while head := await reader.read(1):
                head += await reader.readexactly(7)
                found[head[0]] += await reader.readexactly(int.from_bytes(head[4:], "big"))
    finally:
        writer.close()
    return found[1].decode(), found[2].decode()


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """busybox, imported once."""
    made = Shelf(tmp_path_factory.mktemp("shelf"))
    asyncio.run(made.fill())
    return made


@pytest.fixture
async def lower_dirs(rig):
    """busybox's overlay lower directories."""
    return await rig.images.lower_dirs(await rig.images.resolve("busybox"))


@pytest.fixture
async def rig(settings, shelf):
    """The rooms; every container is removed after the test."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Rig(settings, shelf)
    await made.open()
    yield made
    await made.end()
