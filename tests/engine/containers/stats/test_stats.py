"""Statistics: the numbers of the cgroup's files and of the container's own network."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from dosirak.engine.containers.stats import sampling
from dosirak.engine.containers.stats.model import Interface
from dosirak.engine.errors import NotFound
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import statistics, v1
from support.bundles import until

MB = 1 << 20


def value(container_id, controller, on_v1, on_v2):
    backend = cgroups.backend()
    if isinstance(backend, v1.Hierarchies):
        return Path(backend.mounts[controller], "dosirak", container_id, on_v1).read_text()
    return Path(backend.root, "dosirak", container_id, on_v2).read_text()


async def test_the_numbers_are_those_of_the_cgroup(rig):
    host = {"memory": 64 * MB, "pids_limit": 30}
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=8 2>/dev/null; sleep 60 & sleep 60 & wait"
    container_id = await rig.start("sh", "-c", script, host=host)
    await until(lambda: len(cgroups.processes(f"dosirak/{container_id}")) == 3)
    await rig.containers.pause(container_id)  # so that nothing changes between two looks
    found = rig.containers.stats.sample(container_id)
    figures = found.figures
    assert figures.pids == 3
    assert figures.pids_limit == 30
    assert figures.memory.usage == int(value(container_id, "memory", "memory.usage_in_bytes", "memory.current"))
    assert figures.memory.limit == found.memory_limit == 64 * MB
    assert figures.memory.usage > 8 * MB
    text = value(container_id, "memory", "memory.stat", "memory.stat").split()
    numbers = {name: int(number) for name, number in zip(text[::2], text[1::2], strict=True)}
    assert figures.memory.detail.keys() == numbers.keys()
    # The kernel gives its own memory back whenever it likes.
    moving = {name for name in numbers if name.startswith("slab")}
    assert {name: figures.memory.detail[name] for name in numbers.keys() - moving} == {
        name: numbers[name] for name in numbers.keys() - moving
    }
    if cgroups.version() == "1":
        assert figures.cpu.total == int(value(container_id, "cpuacct", "cpuacct.usage", ""))
        assert sum(figures.cpu.each) == figures.cpu.total
    assert figures.cpu.total > 0
    assert found.system_cpu > figures.cpu.total
    assert found.cpus >= 1


async def test_what_the_network_carried_is_counted_inside_the_container(rig):
    container_id = await rig.start("sleep", "60", host={"network_mode": "bridge"})
    before = rig.containers.stats.sample(container_id).interfaces["eth0"]
    gateway = rig.containers.endpoints(container_id)["bridge"].gateway
    code, _, _ = await rig.exec(container_id, "ping", "-c", "3", "-i", "0.05", "-s", "1000", gateway)
    assert code == 0
    after = rig.containers.stats.sample(container_id).interfaces["eth0"]
    assert after.tx_bytes - before.tx_bytes >= 3000
    assert after.rx_bytes - before.rx_bytes >= 3000
    assert after.tx_packets - before.tx_packets >= 3
    _, out, _ = await rig.exec(container_id, "cat", "/sys/class/net/eth0/statistics/tx_bytes")
    assert int(out) == rig.containers.stats.sample(container_id).interfaces["eth0"].tx_bytes


@pytest.mark.parametrize("mode", ["none", "host"])
async def test_without_a_network_of_its_own_nothing_is_counted(rig, mode):
    container_id = await rig.start("sleep", "60", host={"network_mode": mode})
    assert rig.containers.stats.sample(container_id).interfaces == {}


async def test_time_that_was_throttled_grows(rig):
    container_id = await rig.start("sh", "-c", "while :; do :; done", host={"cpu_quota": 5000, "cpu_period": 50000})
    await until(lambda: rig.containers.stats.sample(container_id).figures.cpu.throttled_periods >= 3, seconds=20)
    cpu = rig.containers.stats.sample(container_id).figures.cpu
    assert cpu.throttled > 0
    assert cpu.periods >= cpu.throttled_periods


async def test_what_does_not_run_uses_nothing(rig):
    container_id = await rig.create("true")
    assert rig.containers.stats.sample(container_id) is None
    with pytest.raises(NotFound, match=r"^No such container: nope$"):
        rig.containers.stats.sample("nope")


async def test_samples_follow_a_container_through_its_life(rig):
    container_id = await rig.create("sleep", "60")
    async with asyncio.timeout(20), aclosing(rig.containers.stats.follow(container_id)) as samples:
        assert await anext(samples) is None
        await rig.containers.start(container_id)
        first = await anext(samples)
        second = await anext(samples)
        assert 0.5e9 < second.read_ns - first.read_ns < 10e9
        assert second.figures.cpu.total >= first.figures.cpu.total
        await rig.containers.remove(container_id, force=True)
        assert [sample async for sample in samples] == []


def test_all_processors_time_and_their_number():
    text = "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3\ncpu1 1 2 3\nintr 1 2 3\ncpufake\n"
    assert sampling.parse_stat(text) == (280 * 10_000_000, 2)


def test_interfaces_but_loopback():
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls\n"
        "    lo: 5 5 0 0 0 0 0 0 5 5 0 0 0 0 0 0\n"
        "  eth0:1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n"
    )
    assert sampling.parse_net_dev(text) == {"eth0": Interface(1, 2, 3, 4, 5, 6, 7, 8)}


def test_figures_of_a_v2_group(tmp_path):
    """The parsing, wherever the test runs; the real files are read where the host has them."""
    for name, text in {
        "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 3\nthrottled_usec 2\n",
        "cgroup.controllers": "cpu io memory pids\n",
        "memory.current": "4096\n",
        "memory.max": "max\n",
        "memory.stat": "anon 1\nfile 2\n",
        "memory.events": "low 0\noom 7\noom_kill 1\n",
        "pids.current": "2\n",
        "pids.max": "max\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n",
    }.items():
        (tmp_path / name).write_text(text)
    found = statistics._read_v2(str(tmp_path))
    assert found.cpu == statistics.Cpu(30_000, 10_000, 20_000, [], 4, 3, 2000)
    assert found.memory == statistics.Memory(4096, statistics.UNLIMITED, {"anon": 1, "file": 2}, 0, 7)
    assert (found.pids, found.pids_limit) == (2, statistics.UNLIMITED)
    assert [(at.major, at.minor, at.kind, at.count) for at in found.io_bytes] == [
        (8, 0, "read", 10),
        (8, 0, "write", 20),
    ]
    assert found.io_operations is None
