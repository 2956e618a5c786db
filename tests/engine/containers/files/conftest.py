"""Copying in and out of a container by the room's door, without HTTP."""

from __future__ import annotations

import asyncio
import io
import tarfile

import pytest

from dosirak.engine.layers.pack import unfolded
from support.tars import member, tar


class Copy:
    """cp in this process: `await copy.out(id, "/etc")` gives (stat, entries by name), `put` takes entries of a tar."""

    def __init__(self, rig):
        self.rig, self.files = rig, rig.containers.files

    async def out(self, ref, path):
        """What is at a path: its stat, and the tar's entries by name (content of files in `.content`)."""
        found = []
        await self.files.archive(ref, path, lambda stat, pieces: found.append((stat, b"".join(unfolded(pieces)))))
        ((stat, data),) = found
        return stat, entries(data)

    async def export(self, ref):
        """The exported tar's entries by name."""
        found = []
        await self.files.export(ref, lambda pieces: found.append(b"".join(unfolded(pieces))))
        return entries(found[0])

    async def text(self, ref, path):
        """The content of a file."""
        _, found = await self.out(ref, path)
        (entry,) = found.values()
        return entry.content.decode()

    async def put(self, ref, path, *members, **options):
        """Extract a tar of these members (`support.tars.member`) at a path."""
        await self.files.extract(ref, path, io.BytesIO(tar(list(members))), **options)

    async def write(self, ref, path, content, **options):
        """One file."""
        directory, _, name = path.rpartition("/")
        await self.put(ref, directory or "/", member(name, "file", content), **options)

    async def sh(self, ref, script):
        """Run a script in the running container; what it prints. It must succeed."""
        code, out, err = await self.rig.exec(ref, "sh", "-c", script)
        assert code == 0, err
        return out

    async def ended(self, script, **options):
        """A container that has run a script to its end; its id."""
        ran = await self.rig.run("sh", "-c", script, **options)
        assert ran.code == 0, ran.err
        return ran.id

    async def states(self, script, **options):
        """Containers that have run the same script, by their state: exited, running, paused."""
        running, paused = [
            await self.rig.start("sh", "-c", f"{{ {script}; }} && touch /done; sleep 100", **options) for _ in range(2)
        ]
        for ref in (running, paused):
            async with asyncio.timeout(60):
                while (await self.rig.exec(ref, "test", "-e", "/done"))[0]:
                    await asyncio.sleep(0.02)
            await self.sh(ref, "rm /done")
        await self.rig.containers.pause(paused)
        return {"exited": await self.ended(script, **options), "running": running, "paused": paused}


class Entry(tarfile.TarInfo):
    """An entry with its content."""

    content = b""


def entries(data):
    """A tar's entries by name."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), tarinfo=Entry) as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() else None
            info.content = file.read() if file else b""
            found[info.name] = info
    return found


@pytest.fixture
def copy(rig):
    """cp by the room's door."""
    return Copy(rig)
