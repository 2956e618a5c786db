"""`container prune` and `volume prune`: what goes, what stays, what is told."""

from __future__ import annotations

import asyncio
import time


async def told(rig, kind):
    subscription = rig.events.subscribe(0, time.time_ns(), {"type": [kind], "event": ["prune"]})
    async with subscription:
        return [event async for event in subscription]


async def test_what_does_not_run_goes(rig):
    running = await rig.start("sleep", "100")
    made = await rig.create("true", labels={"keep": ""})
    ended = await rig.run("sh", "-c", "head -c 5000 /dev/zero > /file")
    kept = await rig.containers.prune({"label!": ["keep"]})
    assert kept.removed == [ended.id] and 5000 <= kept.reclaimed < 20000
    rest = await rig.containers.prune({})
    assert rest.removed == [made] and rest.reclaimed == 0
    assert [found.id for found in rig.containers.list(all=True)] == [running]
    assert [event.attributes for event in await told(rig, "container")] == [
        {"reclaimed": str(kept.reclaimed)},
        {"reclaimed": "0"},
    ]
    assert (await rig.containers.prune({"until": ["1h"]})).removed == []


async def test_only_what_is_old_enough_goes(rig):
    old = await rig.create("true")
    assert (await rig.containers.prune({"until": ["1h"]})).removed == []
    assert (await rig.containers.prune({"until": [str(time.time() + 1)]})).removed == [old]


async def prune_volumes(rig, **filters):
    return await rig.volumes.prune(filters, lambda name: bool(rig.containers.using_volume(name)))


async def test_anonymous_volumes_without_a_container_go_and_named_ones_with_all(rig):
    container_id = await rig.create("true", host={"binds": ["/anonymous", "used:/used"]}, volumes={"/more": {}})
    rig.volumes.create("unused", labels={"a": "b"})
    left = await rig.create("true", volumes={"/left": {}})
    await rig.containers.remove(left)
    first = await prune_volumes(rig)
    assert len(first.removed) == 1
    assert (await prune_volumes(rig, all=["true"], label=["a=c"])).removed == []
    assert (await prune_volumes(rig, all=["1"], label=["a"])).removed == ["unused"]
    assert (await prune_volumes(rig, all=["1"])).removed == []
    await rig.containers.remove(container_id)
    assert len((await prune_volumes(rig, all=["1"])).removed) >= 2
    assert rig.volumes.list() == []
    assert (await told(rig, "volume"))[0].attributes == {"reclaimed": "0"}


async def test_a_volume_of_a_container_being_made_stays(rig):
    async def make():
        return [await rig.create("true", host={"binds": ["data:/bin"]}, volumes={"/sbin": {}}) for _ in range(6)]

    making = asyncio.ensure_future(make())
    while not making.done():
        await prune_volumes(rig, all=["1"])
        await asyncio.sleep(0)
    there = {volume.name for volume in rig.volumes.list()}
    used = {mount.name for container_id in await making for mount in rig.containers.get(container_id).mounts}
    assert used == there and len(used) == 7
