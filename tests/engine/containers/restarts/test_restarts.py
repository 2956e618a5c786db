"""Restarts by policy: by the monitor, after a boot, after a monitor was killed, across services."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from dosirak.engine.containers.documents import RestartPolicy
from dosirak.engine.supervision.model import Restart
from support.bundles import until


def policy(name, most=0):
    return {"restart_policy": RestartPolicy(name=name, maximum_retry_count=most)}


def monitor_of(rig, ref):
    """The parent of a container's first process."""
    stat = Path(f"/proc/{rig.containers.get(ref).state.pid}/stat").read_text()
    return int(stat.rsplit(")", 1)[1].split()[1])


async def events(rig, action):
    subscription = rig.events.subscribe(0, time.time_ns())
    async with subscription:
        return [event.time_ns / 1e9 async for event in subscription if event.action == action]


async def test_on_failure_tries_as_often_as_asked_with_growing_pauses(rig):
    container_id = await rig.create("sh", "-c", "exit 3", host=policy("on-failure", 2))
    await rig.containers.start(container_id)
    await asyncio.wait_for(rig.containers.wait(container_id), 20)
    record = rig.containers.get(container_id)
    assert (record.restart_count, record.state.exit_code, record.state.status) == (2, 3, "exited")
    ends, starts = await events(rig, "die"), await events(rig, "start")
    assert len(ends) == len(starts) == 3
    assert starts[1] - ends[0] >= 0.09 and starts[2] - ends[1] >= 0.19


async def test_on_failure_leaves_a_success_alone(rig):
    container_id = await rig.start("true", host=policy("on-failure"))
    await asyncio.wait_for(rig.containers.wait(container_id), 20)
    await asyncio.sleep(0.2)
    assert rig.containers.get(container_id).restart_count == 0


async def test_a_program_that_is_gone_is_not_tried_again(rig):
    container_id = await rig.start("sh", "-c", "rm /bin/sh; exit 1", host=policy("always"))
    await asyncio.wait_for(rig.containers.wait(container_id), 20)
    state = rig.containers.get(container_id).state
    assert (state.status, state.exit_code) == ("exited", 127)
    assert 'exec: "sh": executable file not found in $PATH' in state.error


async def test_a_stop_between_two_runs_is_the_end(rig):
    container_id = await rig.start("false", host=policy("always"))
    await until(lambda: rig.containers.get(container_id).restart_count >= 3)
    await until(lambda: rig.containers.get(container_id).state.restarting)
    assert rig.containers.status(rig.containers.get(container_id)).startswith("Restarting (1) ")
    await rig.containers.stop(container_id)
    assert rig.containers.get(container_id).state.status == "exited"
    count = rig.containers.get(container_id).restart_count
    await asyncio.sleep(1.0)
    assert rig.containers.get(container_id).restart_count == count


async def test_a_new_policy_holds_from_the_next_end_on(rig):
    container_id = await rig.start("sleep", "100", host=policy("no"))
    live = rig.containers._room.table.find(container_id)
    live.task.set_restart(Restart("always"))
    os.kill(live.record.state.pid, signal.SIGKILL)
    await until(lambda: live.record.restart_count == 1 and live.record.state.status == "running")


async def test_after_a_boot_those_come_back_that_docker_brings_back(rig):
    names = {}
    for name, rule, stop in (
        ("always", "always", True),
        ("unless", "unless-stopped", True),
        ("running", "unless-stopped", False),
        ("never", "no", False),
    ):
        names[name] = await rig.start("sleep", "100", name=name, host=policy(rule))
        if stop:
            await rig.containers.stop(name, timeout=0)
    joined = await rig.start(
        "sleep", "100", name="joined", host={**policy("always"), "network_mode": "container:running"}
    )
    monitors = [monitor_of(rig, name) for name in ("joined", "running", "never")]
    await rig.close()
    await rig.open()
    # A service that comes and goes is no boot.
    assert rig.containers.get("always").state.status == "exited"
    await rig.close()
    for pid in monitors:
        os.kill(pid, signal.SIGKILL)
    (rig.settings.data / "boot-id").write_text("another boot\n")
    await rig.open()
    assert {name: rig.containers.get(name).state.status for name in names} == {
        "always": "running",
        "unless": "exited",
        "running": "running",
        "never": "exited",
    }
    assert rig.containers.get(joined).state.status == "running"
    await rig.containers.stop("always", timeout=0)
    await rig.close()
    await rig.open()
    assert rig.containers.get("always").state.status == "exited"


async def test_a_killed_monitor_s_container_comes_back_by_its_policy(rig):
    container_id = await rig.start("sleep", "100", host={**policy("unless-stopped"), "network_mode": "bridge"})
    first = rig.containers.get(container_id).state.pid
    os.kill(monitor_of(rig, container_id), signal.SIGKILL)
    await until(lambda: rig.containers.get(container_id).state.pid not in (0, first))
    record = rig.containers.get(container_id)
    assert record.state.status == "running" and record.restart_count == 1
    os.kill(record.state.pid, signal.SIGKILL)
    await until(lambda: record.restart_count == 2 and record.state.status == "running")


async def test_between_two_runs_a_new_service_keeps_the_network(rig):
    container_id = await rig.start(
        "sh",
        "-c",
        "test -e /again && exec sleep 100; test -e /once && touch /again; touch /once; exit 1",
        host={**policy("always"), "network_mode": "bridge"},
    )
    address = rig.containers.endpoints(container_id)["bridge"].ip_address
    record = rig.containers.get(container_id)
    await until(lambda: record.restart_count == 2 and record.state.restarting)
    await rig.close()
    await rig.open()
    record = rig.containers.get(container_id)
    await until(lambda: record.state.status == "running")
    assert rig.containers.endpoints(container_id)["bridge"].ip_address == address
    _, out, _ = await rig.exec(container_id, "ip", "-o", "addr")
    assert address in out
    gateway = rig.containers.endpoints(container_id)["bridge"].gateway
    code, out, _ = await rig.exec(container_id, "ping", "-c", "1", "-W", "5", gateway)
    assert code == 0, out
