"""Pause and unpause: what stands still, what Docker answers meanwhile, and what a stop or a new service makes of it."""

from __future__ import annotations

import asyncio
import time

import pytest

from dosirak.engine.containers import ExecConfig
from dosirak.engine.containers.documents import HealthConfig
from dosirak.engine.containers.limits import group
from dosirak.engine.errors import Conflict, HostLimit
from dosirak.engine.runtime import cgroups
from dosirak.engine.supervision.model import Attach
from support.bundles import until

TICKS = ("sh", "-c", "while :; do echo .; sleep 0.01; done")


async def actions(rig, container_id):
    filters = {"container": [container_id]}
    async with rig.events.subscribe(since_ns=0, until_ns=time.time_ns(), filters=filters) as reader:
        return [event.action for event in [event async for event in reader]]


async def ticks(rig, container_id):
    return len(await rig.log(container_id))


async def test_a_paused_container_stands_still_and_goes_on(rig):
    container_id = await rig.start(*TICKS, name="clock")
    await rig.containers.pause("clock")
    record = rig.containers.get("clock")
    assert (record.state.status, record.state.running, record.state.paused) == ("paused", True, True)
    assert rig.containers.status(record).endswith(" (Paused)")
    assert [found.id for found in rig.containers.list(filters={"status": ["paused"]})] == [container_id]
    assert cgroups.frozen(group.path_of(record))
    await asyncio.sleep(0.05)
    before = await ticks(rig, container_id)
    await asyncio.sleep(0.1)
    assert await ticks(rig, container_id) == before
    await rig.containers.unpause("clock")
    assert record.state.status == "running"
    await until(lambda: not cgroups.frozen(group.path_of(record)))
    async with asyncio.timeout(10):
        while await ticks(rig, container_id) == before:
            await asyncio.sleep(0.01)
    assert (await actions(rig, container_id))[-2:] == ["pause", "unpause"]


async def test_the_answers_about_a_paused_container_are_dockers(rig):
    container_id = await rig.start("sleep", "60", name="still")
    with pytest.raises(HostLimit, match=rf"^Container {container_id} is not paused$"):
        await rig.containers.unpause("still")
    exec_id = rig.containers.exec_create("still", ExecConfig(cmd=["true"]))
    await rig.containers.pause("still")
    paused = f"container {container_id} is already paused"
    with pytest.raises(Conflict, match=paused):
        await rig.containers.pause("still")
    with pytest.raises(Conflict, match=r"^Container still is paused, unpause the container before exec$"):
        rig.containers.exec_create("still", ExecConfig(cmd=["true"]))
    with pytest.raises(Conflict, match=rf"^Container {container_id} is paused, unpause the container before exec$"):
        await rig.containers.exec_start(exec_id)
    with pytest.raises(Conflict, match=r"^container still is paused, unpause the container before attach$"):
        await rig.containers.attach("still", Attach(None))
    with pytest.raises(Conflict, match=r"^cannot start a paused container, try unpause instead$"):
        await rig.containers.start("still")
    with pytest.raises(Conflict, match="container is paused and must be unpaused first"):
        await rig.containers.remove("still")
    assert (await rig.containers.top("still")).processes


async def test_only_what_runs_can_be_paused(rig):
    container_id = await rig.create("true")
    with pytest.raises(Conflict, match=rf"^container {container_id} is not running$"):
        await rig.containers.pause(container_id)


async def test_a_stop_wakes_a_paused_container_up_to_meet_its_signal(rig):
    container_id = await rig.start("sh", "-c", "trap 'exit 7' TERM; touch /ready; while :; do sleep 0.05; done")
    await until(lambda: (rig.containers.paths(container_id).upper / "ready").exists())
    await rig.containers.pause(container_id)
    await rig.containers.stop(container_id, timeout=10)
    state = rig.containers.get(container_id).state
    assert (state.status, state.exit_code, state.paused) == ("exited", 7, False)
    assert [word for word in await actions(rig, container_id) if word not in ("create", "start")] == [
        *("pause", "kill", "unpause", "die", "stop"),
    ]


async def test_a_paused_container_can_be_killed_and_removed_by_force(rig):
    for end in (rig.containers.kill, lambda ref: rig.containers.remove(ref, force=True)):
        container_id = await rig.start("sleep", "60")
        await rig.containers.pause(container_id)
        await end(container_id)
    assert not rig.containers.list()


async def test_a_signal_that_is_not_meant_to_end_it_waits_until_it_goes_on(rig):
    image = await rig.image(stop_signal="SIGTERM")
    script = "trap 'echo heard' USR1; touch /ready; while :; do sleep 0.02; done"
    container_id = await rig.start("sh", "-c", script, image=image)
    await until(lambda: (rig.containers.paths(container_id).upper / "ready").exists())
    await rig.containers.pause(container_id)
    await rig.containers.kill(container_id, "USR1")
    assert rig.containers.get(container_id).state.paused
    await asyncio.sleep(0.1)
    assert await rig.log(container_id) == ""
    await rig.containers.unpause(container_id)
    async with asyncio.timeout(10):
        while await rig.log(container_id) != "heard\n":
            await asyncio.sleep(0.02)


async def test_a_restart_of_a_paused_container_runs_again(rig):
    container_id = await rig.start("sleep", "60")
    await rig.containers.pause(container_id)
    await rig.containers.restart(container_id, timeout=0)
    state = rig.containers.get(container_id).state
    assert (state.status, state.paused) == ("running", False)


async def test_a_new_service_finds_it_paused(rig):
    container_id = await rig.start(*TICKS)
    await rig.containers.pause(container_id)
    await rig.close()
    await rig.open()
    assert rig.containers.get(container_id).state.status == "paused"
    await rig.containers.unpause(container_id)
    before = await ticks(rig, container_id)
    async with asyncio.timeout(10):
        while await ticks(rig, container_id) == before:
            await asyncio.sleep(0.01)


async def test_what_was_frozen_in_the_last_moment_of_a_service_is_found_paused(rig):
    container_id = await rig.start("sleep", "60")
    await rig.close()
    cgroups.freeze(f"dosirak/{container_id}")
    await rig.open()
    assert rig.containers.get(container_id).state.paused


async def test_a_health_check_rests_while_its_container_is_paused(rig):
    check = HealthConfig(test=["CMD", "true"], interval=20_000_000, retries=1)
    container_id = await rig.start("sleep", "60", healthcheck=check)
    record = rig.containers.get(container_id)
    await until(lambda: record.state.health.status == "healthy")
    await rig.containers.pause(container_id)
    results = record.state.health.log
    await asyncio.sleep(0.1)
    assert record.state.health.log is results
    await rig.containers.unpause(container_id)
    await until(lambda: record.state.health.status == "healthy")


async def test_kills_and_pauses_at_one_moment_leave_nothing_frozen(rig):
    for _ in range(5):
        container_id = await rig.start("sleep", "60")
        answers = await asyncio.gather(
            rig.containers.pause(container_id),
            rig.containers.kill(container_id),
            return_exceptions=True,
        )
        assert answers[1] is None
        assert answers[0] is None or isinstance(answers[0], Conflict)
        assert rig.containers.get(container_id).state.status == "exited"
