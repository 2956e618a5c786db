"""Limits bite: each shown on the real kernel from inside a container, and the file where it stands."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from dosirak.engine.containers import UpdateRequest
from dosirak.engine.containers.documents import DeviceMapping, ThrottleDevice, Ulimit, WeightDevice
from dosirak.engine.containers.limits import group
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import v1
from dosirak.engine.supervision.model import Attach
from support.bundles import until

MB = 1 << 20
only_v1 = pytest.mark.skipif(cgroups.version() != "1", reason="this host has cgroup v2")


def value(rig, container_id, controller, on_v1, on_v2):
    backend, path = cgroups.backend(), group.path_of(rig.containers.get(container_id))
    if isinstance(backend, v1.Hierarchies):
        return Path(backend.mounts[controller], path, on_v1).read_text().strip()
    return Path(backend.root, path, on_v2).read_text().strip()


async def actions(rig, container_id):
    filters = {"container": [container_id]}
    async with rig.events.subscribe(since_ns=0, until_ns=time.time_ns(), filters=filters) as reader:
        return [event.action async for event in reader]


@pytest.fixture
def disk(tmp_path):
    """A block device of our own, which nothing else reads or writes."""
    file = tmp_path / "disk"
    with file.open("wb") as image:
        image.truncate(32 * MB)
    found = subprocess.run(["losetup", "--find", "--show", file], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"no loop devices here: {found.stderr}")
    yield found.stdout.strip()
    subprocess.run(["losetup", "--detach", found.stdout.strip()], check=True)


def given(disk, **rates):
    """HostConfig with the device inside, and rates on it."""
    device = DeviceMapping(path_on_host=disk, path_in_container="/dev/disk", cgroup_permissions="rwm")
    return {"devices": [device], **{name: [ThrottleDevice(path=disk, rate=rate)] for name, rate in rates.items()}}


def seconds(rig, ran):
    """How long it ran."""
    state = rig.containers.get(ran.id).state
    return state.finished_at - state.started_at


async def test_memory_kills_and_docker_s_state_says_so(rig):
    ran = await rig.run("dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=40", host={"memory": 16 * MB})
    state = rig.containers.get(ran.id).state
    assert (ran.code, state.oom_killed, state.exit_code) == (137, True, 137)
    assert "oom" in await actions(rig, ran.id)


@pytest.mark.parametrize("limited", ["at create", "by update"])
async def test_a_kill_for_memory_is_told_when_it_happens(rig, limited):
    host = {"memory": 16 * MB} if limited == "at create" else {}
    script = "read x; dd if=/dev/zero of=/dev/shm/x bs=1M count=40; rm /dev/shm/x; read x"
    container_id = await rig.create("sh", "-c", script, host=host, open_stdin=True)
    ours, theirs = socket.socketpair()
    await rig.containers.attach(container_id, Attach(theirs, stdin=True))
    await rig.containers.start(container_id)
    if not host:
        await rig.containers.limits.update(container_id, UpdateRequest(memory=16 * MB, memory_swap=16 * MB))
    filters = {"container": [container_id], "event": ["oom"]}
    async with rig.events.subscribe(filters=filters) as reader, asyncio.timeout(20):
        ours.send(b"\n")
        await anext(reader)
    state = rig.containers.get(container_id).state
    assert (state.running, state.oom_killed) == (True, True)
    ours.send(b"\n")
    assert (await asyncio.wait_for(rig.containers.wait(container_id), 20)).code == 0
    assert rig.containers.get(container_id).state.oom_killed
    assert (await actions(rig, container_id)).count("oom") == 1
    await rig.containers.start(container_id)
    assert not rig.containers.get(container_id).state.oom_killed
    ours.close()


async def test_a_kill_for_memory_while_no_service_runs_is_told_by_the_next_one(rig):
    script = "sleep 1; dd if=/dev/zero of=/dev/shm/x bs=1M count=40; rm /dev/shm/x; sleep 100"
    container_id = await rig.start("sh", "-c", script, host={"memory": 16 * MB})
    path = group.path_of(rig.containers.get(container_id))
    await rig.close()
    deadline = time.monotonic() + 20
    while not cgroups.oom_kills(path) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await rig.open()
    assert rig.containers.get(container_id).state.oom_killed
    assert (await actions(rig, container_id)).count("oom") == 1


async def test_memory_and_swap_together_are_bounded(rig):
    container_id = await rig.start("sleep", "60", host={"memory": 16 * MB, "memory_swap": 16 * MB})
    expected = str(16 * MB) if cgroups.version() == "1" else "0"
    assert value(rig, container_id, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max") == expected


@only_v1
async def test_swappiness_reservation_and_the_oom_killer_of_v1(rig):
    host = {"memory": 64 * MB, "memory_reservation": 32 * MB, "memory_swappiness": 7, "oom_kill_disable": True}
    container_id = await rig.start("sleep", "60", host=host)
    assert value(rig, container_id, "memory", "memory.swappiness", "") == "7"
    assert value(rig, container_id, "memory", "memory.soft_limit_in_bytes", "") == str(32 * MB)
    assert "oom_kill_disable 1" in value(rig, container_id, "memory", "memory.oom_control", "")
    await rig.containers.limits.update(container_id, UpdateRequest(oom_kill_disable=False, memory_swappiness=9))
    assert value(rig, container_id, "memory", "memory.swappiness", "") == "9"


async def test_writes_are_held_to_their_rate(rig, disk):
    command = ("dd", "if=/dev/zero", "of=/dev/disk", "bs=64k", "count=32", "oflag=direct")
    held = await rig.run(*command, host=given(disk, blkio_device_write_bps=MB))
    assert held.code == 0
    assert seconds(rig, held) > 1.5
    free = await rig.run(*command, host=given(disk))
    assert seconds(rig, free) < seconds(rig, held)


async def test_reads_are_held_to_their_number(rig, disk):
    command = ("dd", "if=/dev/disk", "of=/dev/null", "bs=4k", "count=40", "iflag=direct")
    held = await rig.run(*command, host=given(disk, blkio_device_read_iops=20))
    assert held.code == 0
    assert seconds(rig, held) > 1.5


async def test_reads_are_held_to_their_rate(rig, disk):
    held = await rig.run(
        "dd", "if=/dev/disk", "of=/dev/null", "bs=64k", "count=32", "iflag=direct",
        host=given(disk, blkio_device_read_bps=MB),
    )  # fmt: skip
    assert held.code == 0
    assert seconds(rig, held) > 1.5


async def test_writes_are_held_to_their_number_and_counted(rig, disk):
    script = "dd if=/dev/zero of=/dev/disk bs=4k count=40 oflag=direct && touch /written && sleep 60"
    container_id = await rig.start("sh", "-c", script, host=given(disk, blkio_device_write_iops=20))
    begun = rig.containers.get(container_id).state.started_at
    written = Path(rig.containers.paths(container_id).upper, "written")
    await until(written.exists, seconds=30)
    assert written.stat().st_mtime - begun > 1.5
    number, shown = os.stat(disk).st_rdev, rig.containers.stats.sample(container_id).figures
    for found, expected in ((shown.io_bytes, 40 * 4096), (shown.io_operations, 40)):
        counted = {(entry.major, entry.minor, entry.kind.lower()): entry.count for entry in found}
        assert counted[os.major(number), os.minor(number), "write"] == expected


async def test_processor_time_is_shared_by_weight(rig):
    """Both want all of one processor, which others may want too: what they get of it is as their shares."""
    ids = {}
    for shares in (1024, 128):
        host = {"cpu_shares": shares, "cpuset_cpus": "0"}
        ids[shares] = await rig.start("sh", "-c", "while :; do :; done", host=host)

    def used(shares):
        return rig.containers.stats.sample(ids[shares]).figures.cpu.total

    before = {shares: used(shares) for shares in ids}
    await until(lambda: used(1024) - before[1024] > 1_000_000_000, seconds=30)
    much, little = (used(shares) - before[shares] for shares in (1024, 128))
    assert 3 < much / little < 20
    await rig.containers.limits.update(ids[128], UpdateRequest(cpu_shares=1024))
    before = {shares: used(shares) for shares in ids}
    await until(lambda: used(1024) - before[1024] > 1_000_000_000, seconds=30)
    much, little = (used(shares) - before[shares] for shares in (1024, 128))
    assert 0.5 < much / little < 2


async def test_rates_change_while_it_runs(rig, disk):
    container_id = await rig.start("sleep", "60", host=given(disk, blkio_device_write_bps=MB))
    numbers = Path(f"/sys/class/block/{Path(disk).name}/dev").read_text().strip()

    def rate():
        text = value(rig, container_id, "blkio", "blkio.throttle.write_bps_device", "io.max")
        return next((line for line in text.splitlines() if line.startswith(numbers)), "")

    assert str(MB) in rate()
    faster = UpdateRequest(blkio_device_write_bps=[ThrottleDevice(path=disk, rate=5 * MB)])
    assert await rig.containers.limits.update(container_id, faster) == []
    assert str(5 * MB) in rate()
    await rig.containers.limits.update(container_id, UpdateRequest(blkio_device_write_bps=[]))
    assert str(5 * MB) not in rate()


async def test_a_weight_of_block_io(rig, disk):
    if not rig.containers.limits.host.blkio_weight:
        pytest.skip("this kernel has no block I/O weights")
    host = {"blkio_weight": 300, "blkio_weight_device": [WeightDevice(path=disk, weight=400)]}
    body = {key: found for key, found in host.items() if key == "blkio_weight"}
    container_id = await rig.start("sleep", "60", host=body)
    backend, path = cgroups.backend(), group.path_of(rig.containers.get(container_id))
    top = backend.mounts["blkio"] if isinstance(backend, v1.Hierarchies) else backend.root
    texts = {
        name: Path(top, path, name).read_text().split()[-1]
        for name in ("blkio.weight", "blkio.bfq.weight", "io.bfq.weight", "io.weight")
        if Path(top, path, name).exists()
    }
    assert "300" in texts.values() or texts.get("io.weight") == str(1 + 290 * 9999 // 990)


async def test_the_size_of_shared_memory(rig):
    ran = await rig.run(
        "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=8; wc -c < /dev/shm/x", host={"shm_size": 4 * MB}
    )
    assert ran.out == f"{4 * MB}\n"
    assert "No space left on device" in ran.err


async def test_ulimits(rig):
    limits = [Ulimit(name="nofile", soft=20, hard=30), Ulimit(name="core", soft=0, hard=0)]
    script = "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -n 31 || echo refused"
    ran = await rig.run("sh", "-c", script, host={"ulimits": limits})
    assert ran.out.split() == ["20", "30", "0", "refused"]


async def test_the_preference_of_the_oom_killer(rig):
    ran = await rig.run("cat", "/proc/self/oom_score_adj", host={"oom_score_adj": 123})
    assert ran.out == "123\n"


async def test_a_parent_s_limit_bounds_its_children(rig):
    parent = "dosirak/test-bounded"
    if cgroups.version() == "2":
        cgroups.backend().make_parents(parent)
    for fd in cgroups.create(parent, {"pids": {"limit": 3}}):
        os.close(fd)
    script = "for i in 1 2 3 4 5; do sleep 5 & done; echo all"
    ran = await rig.run("sh", "-c", script, host={"cgroup_parent": parent})
    assert "fork" in ran.err
    cgroups.remove(parent)
