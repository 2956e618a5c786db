"""RUN --mount=type=cache: what stays between steps, whose it is, who waits for whom."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from dosirak.engine.build.dockerfile.mounts import Mount
from dosirak.engine.build.mounts.caches import CacheMounts
from dosirak.engine.build.threads import Stop

from ..conftest import Rig

CACHE = "RUN --mount=type=cache"


async def test_cache_stays_between_builds_and_is_in_no_image(rig: Rig) -> None:
    await rig.build(f"FROM busybox\n{CACHE},target=/c echo one > /c/f\n")
    built = await rig.build(f"FROM busybox\n{CACHE},target=/c cat /c/f; : 2\n")
    assert built.output == "one\n"
    assert not [path for path in await rig.tree(built) if path.startswith("/c")]


async def test_an_id_is_one_cache_wherever_it_is_mounted_and_no_other(rig: Rig) -> None:
    await rig.build(f"FROM busybox\n{CACHE},target=/c,id=x echo one > /c/f\n")
    assert (await rig.build(f"FROM busybox\n{CACHE},target=/d,id=x cat /d/f\n")).output == "one\n"
    assert (await rig.build(f"FROM busybox\n{CACHE},target=/c ls /c\n")).output == ""


async def test_new_cache_has_the_mounts_mode_and_owner(rig: Rig) -> None:
    text = f"FROM busybox\n{CACHE},target=/c,mode=1770,uid=7,gid=8 stat -c '%a %u:%g' /c\n"
    assert (await rig.build(text)).output == "1770 7:8\n"
    assert (await rig.build(f"FROM busybox\n{CACHE},target=/d stat -c '%a %u:%g' /d\n")).output == "755 0:0\n"


async def test_new_cache_begins_as_a_copy_of_what_it_is_from(rig: Rig) -> None:
    text = "FROM busybox AS seed\nRUN mkdir -p /s/sub && echo seed > /s/sub/f && chown 5:5 /s/sub/f\nFROM busybox\n"
    text += f"{CACHE},target=/c,from=seed,source=/s cat /c/sub/f; stat -c %u /c/sub/f; echo more > /c/sub/f\n"
    first = await rig.build(text)
    assert first.output == "seed\n5\n"
    again = await rig.build(text + f"{CACHE},target=/c,from=seed,source=/s cat /c/sub/f\n")
    assert again.output == "more\n"


async def test_readonly_cache_is_read_only(rig: Rig) -> None:
    built = await rig.build(f"FROM busybox\n{CACHE},target=/c,ro touch /c/f || echo refused\n")
    assert "refused\n" in built.output


async def test_private_caches_differ_and_locked_ones_wait(rig: Rig) -> None:
    step = "n=$(ls /c | wc -l); touch /c/$n; sleep 0.6; ls /c | wc -l"
    for sharing, seen in (("private", {"1\n"}), ("locked", {"1\n", "2\n"})):
        texts = [f"FROM busybox\n{CACHE},target=/c,id={sharing},sharing={sharing} : {n}; {step}\n" for n in "ab"]
        built = await asyncio.gather(*(rig.build(text) for text in texts))
        assert {one.output for one in built} == seen


async def test_what_a_killed_service_left_half_made_goes(rig: Rig) -> None:
    left = rig.settings.data / "build-mounts" / "abc.part"
    (left / "deep").mkdir(parents=True)
    await rig.builder.start()
    await rig.builder.close()
    assert not left.exists()


async def test_a_cache_that_is_made_while_an_old_one_is_removed_is_whole(tmp_path: Path) -> None:
    caches, mount = CacheMounts(tmp_path / "caches"), Mount("cache", target="/c", sharing="shared")
    names = {str(number) for number in range(200)}

    def fill(directory: Path, _: Stop) -> None:
        for name in names:
            (directory / name).touch()

    async def have() -> str:
        async with AsyncExitStack() as stack:
            directory = await caches.enter(mount, stack, fill=fill)
            await asyncio.sleep(0.01)
            assert {path.name for path in directory.iterdir()} == names
        return directory.name

    name = await have()
    for _ in range(10):
        removing = asyncio.ensure_future(asyncio.to_thread(caches.remove, name))
        await have()
        await removing
    assert not caches.unfinished()
