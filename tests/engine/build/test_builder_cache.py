"""Whole builds: what is done again and what is not."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from .conftest import Rig, write


async def test_second_build_is_cached_and_is_the_same_image(rig: Rig, tmp_path: Path) -> None:
    context = write(tmp_path / "c", {"f": "1"})
    text = "FROM busybox\nRUN echo > /a\nENV X=1\nCOPY f /f\nWORKDIR /w\nRUN true\n"
    first = await rig.build(text, context)
    second = await rig.build(text, context)
    assert (first.cached, second.cached) == ([], [2, 4, 5, 6])
    assert second.ran == [] and second.image.id == first.image.id


async def test_change_of_a_line_or_a_file_rebuilds_from_there(rig: Rig, tmp_path: Path) -> None:
    context = write(tmp_path / "c", {"f": "1", "g": "1"})
    text = "FROM busybox\nRUN echo a\nCOPY f /f\nRUN echo {}\nRUN echo b\n"
    await rig.build(text.format(1), context)
    assert (await rig.build(text.format(2), context)).ran == [4, 5]
    (context / "g").write_text("unused")
    os.utime(context / "f", (1, 1))
    assert (await rig.build(text.format(2), context)).ran == []
    (context / "f").write_text("2")
    assert (await rig.build(text.format(2), context)).ran == [4, 5]
    (context / "f").write_text("1")
    assert (await rig.build(text.format(1), context)).ran == []


async def test_settings_that_run_does_not_see_do_not_rebuild(rig: Rig) -> None:
    await rig.build("FROM busybox\nLABEL a=1\nRUN echo x\n")
    assert (await rig.build("FROM busybox\nLABEL a=2\nEXPOSE 1\nRUN echo x\n")).ran == []
    assert (await rig.build("FROM busybox\nENV a=2\nRUN echo x\n")).ran == [3]


async def test_stage_rebuilt_to_the_same_files_leaves_its_users_cached(rig: Rig) -> None:
    text = "FROM busybox AS a\nRUN echo {}; echo same > /f\nFROM busybox\nCOPY --from=a /f /f\nRUN cat /f\n"
    await rig.build(text.format(1))
    again = await rig.build(text.format(2))
    assert again.ran == [2] and again.cached == [4, 5]


async def test_no_cache_runs_everything_and_renews_the_cache(rig: Rig) -> None:
    text = "FROM busybox\nRUN date +%N > /t\n"
    first = await rig.build(text)
    renewed = await rig.build(text, no_cache=True)
    assert renewed.ran == [2] and renewed.image.id != first.image.id
    assert (await rig.build(text)).image.id == renewed.image.id


async def test_layers_of_the_cache_outlive_their_image(rig: Rig) -> None:
    text = "FROM busybox\nRUN echo kept > /f\n"
    await rig.build(text, tags=("gone",))
    await rig.rooms.images.remove("gone", force=True)
    again = await rig.build(text)
    assert again.cached == [2] and (await rig.files(again))["/f"] == "kept\n"


async def test_same_step_of_builds_at_the_same_time_runs_once(rig: Rig) -> None:
    text = "FROM busybox\nRUN sleep 0.5; date +%N > /t\n"
    built = await asyncio.gather(*(rig.build(text) for _ in range(3)))
    assert sorted(one.ran for one in built) == [[], [], [2]]
    assert len({one.image.id for one in built}) == 1


async def test_ten_cached_steps_take_no_time(rig: Rig) -> None:
    text = "FROM busybox\n" + "".join(f"RUN echo {n} > /{n}\n" for n in range(10))
    await rig.build(text)
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        await rig.build(text)
        spent.append(time.perf_counter() - began)
    assert min(spent) < 0.05  # some 4 ms on an idle machine


async def test_another_address_of_an_extra_host_is_no_other_step(rig: Rig) -> None:
    text = "FROM busybox\nRUN grep far /etc/hosts\n"
    await rig.build(text, extra_hosts=("far:10.0.0.1",))
    assert (await rig.build(text, extra_hosts=("far:10.0.0.2",))).cached == [2]
    assert (await rig.build("FROM busybox\nRUN cat /etc/hosts\n", extra_hosts=("near:10.0.0.1",))).ran == [2]
    assert (await rig.build("FROM busybox\nRUN cat /etc/hosts\n", extra_hosts=("other:10.0.0.1",))).ran == [2]
