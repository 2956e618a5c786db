"""A service that dies and comes back: what ran is taken over, what ended is recorded, halves are swept."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from dosirak.engine.containers import LogQuery
from dosirak.engine.containers.documents import RestartPolicy
from dosirak.engine.errors import NotFound
from dosirak.engine.runtime import cgroups
from support.bundles import cgroup_folders, until
from support.engines import new_settings

from .conftest import Rig


def monitor_of(rig, ref):
    """The parent of a container's first process."""
    stat = Path(f"/proc/{rig.containers.get(ref).state.pid}/stat").read_text()
    return int(stat.rsplit(")", 1)[1].split()[1])


async def crash(rig):
    """The service goes, its containers stay; a new one comes."""
    await rig.close()
    await rig.open()


async def test_a_running_container_is_taken_over(rig):
    container_id = await rig.start(
        "sh", "-c", "echo before; read x; echo after; exit 5", open_stdin=True, host={"network_mode": "bridge"}
    )
    before = rig.containers.get(container_id).state
    address = rig.containers.endpoints(container_id)["bridge"].ip_address
    await crash(rig)
    after = rig.containers.get(container_id).state
    assert (after.running, after.pid, after.started_at) == (True, before.pid, before.started_at)
    assert rig.containers.endpoints(container_id)["bridge"].ip_address == address
    assert await rig.exec(container_id, "echo", "still here") == (0, "still here\n", "")
    waiter = rig.containers.wait(container_id)
    await rig.containers.kill(container_id, "TERM")
    await rig.containers.stop(container_id, timeout=0)
    assert (await asyncio.wait_for(waiter, 10)).code == 137
    assert rig.networks.sandbox(container_id) is None


async def test_what_ended_meanwhile_is_recorded(rig):
    container_id = await rig.start("sh", "-c", "sleep 0.3; echo done; exit 6")
    await rig.close()
    await asyncio.sleep(0.8)
    await rig.open()
    state = rig.containers.get(container_id).state
    assert (state.status, state.exit_code, state.pid) == ("exited", 6, 0)
    assert state.finished_at > state.started_at
    assert await rig.log(container_id) == "done\n"


async def test_one_that_should_remove_itself_does_so_late(rig):
    container_id = await rig.start("sleep", "0.2", host={"auto_remove": True, "binds": ["/anon"]})
    await rig.close()
    await asyncio.sleep(0.6)
    await rig.open()
    with pytest.raises(NotFound):
        rig.containers.get(container_id)
    assert rig.volumes.list() == []


async def test_after_a_reboot_it_is_255_and_the_policy_decides(rig):
    stays = await rig.start("sleep", "100", name="stays")
    comes = await rig.start("sleep", "100", name="comes", host={"restart_policy": RestartPolicy(name="always")})
    monitors = [monitor_of(rig, ref) for ref in (stays, comes)]
    await rig.close()
    # A reboot: neither processes nor monitors nor their words.
    for pid in monitors:
        os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    for container_id in (stays, comes):
        cgroups.remove(f"dosirak/{container_id}")
    await rig.open()
    state = rig.containers.get("stays").state
    assert (state.status, state.exit_code) == ("exited", 255)
    assert rig.containers.get("comes").state.running


async def test_a_half_made_container_is_swept(rig):
    container_id = "ab" * 32
    directory = rig.settings.data / "containers" / container_id
    (directory / "upper").mkdir(parents=True)
    await crash(rig)
    assert not directory.exists()
    assert rig.containers.list(all=True) == []


async def test_a_container_the_record_of_whose_start_was_lost_is_taken_over(rig):
    container_id = await rig.create("sleep", "100")
    doc = rig.db.execute("SELECT doc FROM containers").fetchone()[0]
    await rig.containers.start(container_id)
    rig.db.execute("UPDATE containers SET doc = ?", (doc,))
    await crash(rig)
    assert rig.containers.get(container_id).state.running
    assert rig.containers.get(container_id).state.pid


async def test_a_killed_monitor_takes_its_container_along_and_it_is_recorded(rig):
    container_id = await rig.start("sleep", "100", host={"network_mode": "bridge"})
    waiter = rig.containers.wait(container_id)
    os.kill(monitor_of(rig, container_id), signal.SIGKILL)
    result = await asyncio.wait_for(waiter, 10)
    assert result.code == 137
    assert rig.networks.sandbox(container_id) is None
    await rig.containers.start(container_id)
    assert rig.containers.get(container_id).state.running


@pytest.mark.parametrize("service", ["runs", "starts later"])
async def test_of_a_monitor_killed_in_its_last_moments_no_cgroup_is_left(rig, service):
    """It notes the end, and removes the cgroup after that."""
    container_id = await rig.start("sleep", "100")
    pid, monitor = rig.containers.get(container_id).state.pid, monitor_of(rig, container_id)
    path = f"{cgroups.parent()}/{container_id}"
    os.kill(monitor, signal.SIGSTOP)
    if service != "runs":
        await rig.close()
    os.kill(pid, signal.SIGTERM)
    note = {"code": 6, "oom": False, "at": time.time(), "error": "", "restarts": 0}
    (rig.settings.data / "containers" / container_id / "exit.json").write_text(json.dumps(note))
    assert cgroup_folders(path), "the control: it is there"
    os.kill(monitor, signal.SIGKILL)
    if service != "runs":
        await rig.open()
    await until(lambda: rig.containers.get(container_id).state.status == "exited", "its end to be recorded")
    assert rig.containers.get(container_id).state.exit_code == 6
    await until(lambda: not cgroup_folders(path), "the cgroup to be removed")


async def test_a_killed_launcher_leaves_containers_running_and_comes_back(rig):
    first = await rig.start("sh", "-c", "echo x; exec sleep 100")
    os.kill(rig.launcher.pid, signal.SIGKILL)
    second = await rig.run("echo", "y")
    assert second.out == "y\n"
    assert rig.containers.get(first).state.running
    assert [record.data async for record in rig.containers.logs(first, LogQuery())] == [b"x\n"]


async def test_two_roots_do_not_touch_each_others_containers(rig, shelf):
    other = Rig(new_settings("s"), shelf)
    await other.open()
    try:
        mine, theirs = await rig.start("sleep", "100"), await other.start("sleep", "100")
        await crash(rig)
        assert rig.containers.get(mine).state.running and other.containers.get(theirs).state.running
    finally:
        await other.end()
        shutil.rmtree(other.settings.data.parent)
