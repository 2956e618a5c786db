"""Health checks on running containers: states, events, what is kept, who is killed."""

from __future__ import annotations

import asyncio
import time

import pytest

from dosirak.engine.containers.documents import HealthConfig, RestartPolicy
from support.bundles import until

FAST = 50_000_000  # nanoseconds


def check(*test, **options):
    return HealthConfig(**{"test": list(test), "interval": FAST, "retries": 2, **options})


def health(rig, container_id):
    return rig.containers.get(container_id).state.health


async def actions(rig):
    subscription = rig.events.subscribe(0, time.time_ns())
    async with subscription:
        return [event.action async for event in subscription if event.type == "container"]


async def test_a_check_turns_it_healthy_then_unhealthy_with_events(rig):
    container_id = await rig.start(
        "sleep", "100", healthcheck=check("CMD-SHELL", "echo said; echo loud >&2; test ! -e /sick")
    )
    assert health(rig, container_id).status == "starting"
    assert rig.containers.status(rig.containers.get(container_id)).endswith("(health: starting)")
    await until(lambda: health(rig, container_id).status == "healthy")
    assert rig.containers.status(rig.containers.get(container_id)).endswith("(healthy)")
    assert health(rig, container_id).log[-1].output in ("said\nloud\n", "loud\nsaid\n")
    assert [found.id for found in rig.containers.list(filters={"health": ["healthy"]})] == [container_id]
    await rig.exec(container_id, "touch", "/sick")
    await until(lambda: health(rig, container_id).status == "unhealthy")
    assert len(health(rig, container_id).log) <= 5
    told = await actions(rig)
    shell = "exec_create: /bin/sh -c echo said; echo loud >&2; test ! -e /sick"
    assert told.index(shell) < told.index("health_status: healthy") < told.index("health_status: unhealthy")
    assert [action for action in told if action.startswith("health_status")] == [
        "health_status: healthy",
        "health_status: unhealthy",
    ]
    assert rig.containers.exec_ids(container_id) == [] or len(rig.containers.exec_ids(container_id)) == 1
    await rig.containers.stop(container_id, timeout=0)
    assert health(rig, container_id).status == "unhealthy"
    # What had ended is forgotten at once, what was under way has been killed.
    await until(lambda: not rig.containers.exec_ids(container_id))


async def test_the_image_s_check_is_used_and_can_be_switched_off(rig):
    from dosirak.engine.images.config import Healthcheck

    image = await rig.image(healthcheck=Healthcheck(test=["CMD", "true"], interval=FAST))
    container_id = await rig.start("sleep", "100", image=image)
    await until(lambda: health(rig, container_id).status == "healthy")
    off = await rig.start("sleep", "100", image=image, healthcheck=HealthConfig(test=["NONE"]))
    assert health(rig, off) is None
    assert rig.containers.list(filters={"health": ["none"]})[0].id == off


async def test_a_probe_that_takes_too_long_is_killed_with_what_it_started(rig):
    container_id = await rig.start(
        "sleep",
        "100",
        healthcheck=check("CMD-SHELL", "echo hm; sleep 987; true", timeout=200_000_000, retries=1),
    )
    await until(lambda: health(rig, container_id).status == "unhealthy")
    last = health(rig, container_id).log[-1]
    assert (last.exit_code, last.output) == (-1, "Health check exceeded timeout (200ms): hm\n")
    processes = (await rig.containers.top(container_id)).processes
    assert sum("sleep 987" in " ".join(row) for row in processes) <= 2  # of a next probe at most


async def test_a_check_that_can_t_run_says_why(rig):
    container_id = await rig.start("sleep", "100", healthcheck=check("CMD", "nosuch", retries=1))
    await until(lambda: health(rig, container_id).status == "unhealthy")
    last = health(rig, container_id).log[-1]
    assert last.exit_code == -1
    assert 'exec: "nosuch": executable file not found in $PATH' in last.output


async def test_output_is_kept_up_to_a_limit(rig):
    container_id = await rig.start("sleep", "100", healthcheck=check("CMD-SHELL", "yes | head -c 300000"))
    await until(lambda: health(rig, container_id).log)
    assert health(rig, container_id).log[0].output == "y\n" * 2048 + "..."


async def test_a_new_service_goes_on_checking(rig):
    container_id = await rig.start("sleep", "100", healthcheck=check("CMD-SHELL", "test ! -e /sick"))
    await until(lambda: health(rig, container_id).status == "healthy")
    await rig.close()
    await rig.open()
    assert health(rig, container_id).status == "healthy"
    await rig.exec(container_id, "touch", "/sick")
    await until(lambda: health(rig, container_id).status == "unhealthy")


async def test_a_restart_by_policy_begins_anew(rig):
    container_id = await rig.start(
        "sh",
        "-c",
        "test -e /again && exec sleep 100; touch /again; sleep 0.5; exit 1",
        healthcheck=check("CMD", "true"),
        host={"restart_policy": RestartPolicy(name="always")},
    )
    await until(lambda: rig.containers.get(container_id).restart_count == 1)
    await until(lambda: health(rig, container_id).status == "healthy")


async def test_without_checks_nothing_is_watched(rig):
    container_id = await rig.start("sleep", "100")
    assert health(rig, container_id) is None
    assert not [task for task in asyncio.all_tasks() if "health" in task.get_name()]


@pytest.mark.parametrize("options", [{"interval": 1}, {"start_period": 999_999}])
async def test_intervals_have_a_least_value(rig, options):
    from dosirak.engine.errors import InvalidRequest

    with pytest.raises(InvalidRequest, match="cannot be less than 1ms"):
        await rig.create("true", healthcheck=HealthConfig(test=["CMD", "true"], **options))
