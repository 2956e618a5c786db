"""Uploads to a served registry when several requests are about the same one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dosirak.engine.content import Index, Store
from dosirak.engine.images import Images
from dosirak.engine.layers import Layers
from dosirak.engine.registry.serving.model import Refused
from dosirak.engine.registry.serving.pushes import Pushes
from dosirak.engine.registry.serving.shelf import Shelf
from support.registries import digest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "content")


@pytest.fixture
async def pushes(tmp_path: Path, store: Store) -> AsyncIterator[Pushes]:
    """What others push to an engine without images; no upload is left half-made."""
    layers = Layers(tmp_path / "layers", store)
    images = Images(store, Index(tmp_path / "content"), layers)
    await images.start()
    made = Pushes(images, store, Shelf(images, store, "localhost:5000"))
    await made.open()
    yield made
    await made.close()
    await layers.close()
    assert not list((tmp_path / "content/tmp").iterdir())


async def body(data: bytes, after: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    if after is not None:
        await after.wait()
    yield data


async def test_an_upload_that_is_being_finished_takes_no_more(pushes: Pushes, store: Store) -> None:
    name = await pushes.begin("a")
    await pushes.append("a", name, None, body(b"right"))
    finishing = asyncio.ensure_future(pushes.finish("a", name, digest(b"right")))
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="unknown"):
        await pushes.append("a", name, None, body(b"wrong"))
    with pytest.raises(Refused, match="unknown"):
        await pushes.finish("a", name, digest(b"right"))
    await finishing
    assert store.path(digest(b"right")).read_bytes() == b"right"


async def test_an_upload_that_is_written_to_is_left_alone(pushes: Pushes, store: Store) -> None:
    name, more = await pushes.begin("a"), asyncio.Event()
    writing = asyncio.ensure_future(pushes.append("a", name, None, body(b"all", more)))
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="another request"):
        pushes.cancel("a", name)
    with pytest.raises(Refused, match="another request"):
        await pushes.append("a", name, None, body(b"between"))
    with pytest.raises(Refused, match="another request"):
        await pushes.finish("a", name, digest(b""))
    more.set()
    await writing
    await pushes.finish("a", name, digest(b"all"))
    assert store.has(digest(b"all"))


async def test_the_end_throws_away_what_was_pushed_and_nothing_else(pushes: Pushes, store: Store) -> None:
    others = store.put(b"a layer that a build has just packed", "")
    name = await pushes.begin("a")
    await pushes.append("a", name, None, body(b"pushed"))
    await pushes.finish("a", name, digest(b"pushed"))
    await pushes.close()
    assert [*store.digests()] == [others.digest]
