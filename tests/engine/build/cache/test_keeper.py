"""The cache as a whole, on real builds: what it says it has, what prunes take, how it keeps to a size."""

from __future__ import annotations

import asyncio

import pytest

from dosirak.engine.build.cache.usage import MOUNT, Room
from dosirak.engine.errors import InvalidRequest

from ..conftest import Rig

BIG = "RUN dd if=/dev/zero of=/f bs=1M count=2 && echo {} >> /f\n"


async def test_usage_tells_steps_and_mounts_with_what_they_are(rig: Rig) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/f bs=1M count=1\nRUN echo x > /x\n"
    await rig.build(text)
    await rig.build(text)
    rows = {row.description: row for row in await rig.builder.usage()}
    step, mount = rows["mount / from exec /bin/sh -c echo x > /x"], rows["cached mount"]
    assert (step.kind, step.uses, step.shared, step.in_use) == ("regular", 2, True, False) and step.size > 0
    assert (mount.kind, mount.uses) == (MOUNT, 1) and mount.size >= 1 << 20 and mount.created <= mount.used


async def test_prune_leaves_what_images_stand_on_unless_all(rig: Rig) -> None:
    await rig.build("FROM busybox\n" + BIG.format(1), tags=("kept",))
    await rig.build("FROM busybox\nRUN --mount=type=cache,target=/c touch /c/f\n" + BIG.format(2), tags=("gone",))
    await rig.rooms.images.remove("gone", force=True)
    pruned = await rig.builder.prune({}, all=False)
    assert pruned.reclaimed > 2 << 20
    assert [row.shared for row in await rig.builder.usage()] == [True]
    assert (await rig.build("FROM busybox\n" + BIG.format(1))).cached == [2]
    assert (await rig.builder.prune({}, all=True)).reclaimed == 0
    assert await rig.builder.usage() == []
    assert (await rig.build("FROM busybox\n" + BIG.format(1))).ran == [2]


async def test_prune_keeps_the_latest_of_a_size(rig: Rig) -> None:
    for number in range(3):
        built = await rig.build("FROM busybox\n" + BIG.format(number))
        await rig.rooms.images.remove(built.image.id, force=True)
    await rig.builder.prune({}, all=True, room=Room(least=3 << 20))
    assert (await rig.build("FROM busybox\n" + BIG.format(2))).cached == [2]
    assert (await rig.build("FROM busybox\n" + BIG.format(0))).ran == [2]


async def test_prune_during_a_build_leaves_what_the_build_uses(rig: Rig) -> None:
    text = "FROM busybox\n" + BIG.format("a") + "RUN sleep 1; ls /f\n"
    await rig.rooms.images.remove((await rig.build("FROM busybox\n" + BIG.format("a"))).image.id, force=True)
    await rig.rooms.images.remove((await rig.build("FROM busybox\n" + BIG.format("b"))).image.id, force=True)
    building = asyncio.ensure_future(rig.build(text))
    await asyncio.sleep(0.5)
    pruned = await rig.builder.prune({}, all=True)
    assert len(pruned.removed) == 1
    built = await building
    assert built.cached == [2] and built.output == "/f\n"
    assert (await rig.build(text)).ran == []
    assert (await rig.build("FROM busybox\n" + BIG.format("b"))).ran == [2]


async def test_cache_keeps_to_the_size_in_dosirak_toml(rig: Rig) -> None:
    (rig.settings.data / "dosirak.toml").write_text('[build]\ncache_size = "3MB"\n')
    for number in range(3):
        built = await rig.build("FROM busybox\n" + BIG.format(number))
        await rig.rooms.images.remove(built.image.id, force=True)
    pruned = await rig.builder._keeper.trim()
    assert 4 << 20 < pruned.reclaimed < 5 << 20
    assert (await rig.build("FROM busybox\n" + BIG.format(2))).cached == [2]
    assert (await rig.builder._keeper.trim()).reclaimed == 0


@pytest.mark.parametrize("value", ['"many"', "-1", "[]", '"1XB"'])
async def test_a_size_that_is_none_is_said(rig: Rig, value: str) -> None:
    (rig.settings.data / "dosirak.toml").write_text(f"[build]\ncache_size = {value}\n")
    with pytest.raises(InvalidRequest):
        await rig.builder._keeper.trim()
