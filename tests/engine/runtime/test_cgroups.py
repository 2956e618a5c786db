"""Limits: their translation to v1 and v2, the files of the real hierarchies, and that they bite."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.errors import StartFailed
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import v1, v2
from dosirak.engine.supervision.model import Restart
from support.bundles import Box, cgroup_folders, ended, until

MB = 1 << 20
DEVICE = [{"major": 8, "minor": 0, "rate": 1000}]

TABLE: list[tuple[dict[str, Any], list[tuple[str, str, object]], list[tuple[str, object]]]] = [
    ({}, [], []),
    (
        {"memory": {"limit": 64 * MB}},
        [("memory", "memory.limit_in_bytes", 64 * MB)],
        [("memory.max", 64 * MB)],
    ),
    (
        {"memory": {"limit": 64 * MB, "swap": 128 * MB, "reservation": 32 * MB}},
        [
            ("memory", "memory.limit_in_bytes", 64 * MB),
            ("memory", "memory.memsw.limit_in_bytes", 128 * MB),
            ("memory", "memory.soft_limit_in_bytes", 32 * MB),
        ],
        [("memory.max", 64 * MB), ("memory.swap.max", 64 * MB), ("memory.low", 32 * MB)],
    ),
    (
        {"memory": {"limit": -1, "swap": -1}},
        [("memory", "memory.limit_in_bytes", -1), ("memory", "memory.memsw.limit_in_bytes", -1)],
        [("memory.max", "max"), ("memory.swap.max", "max")],
    ),
    (
        {"memory": {"limit": 64 * MB, "swap": 64 * MB, "swappiness": 0, "disableOOMKiller": True}},
        [
            ("memory", "memory.limit_in_bytes", 64 * MB),
            ("memory", "memory.memsw.limit_in_bytes", 64 * MB),
            ("memory", "memory.swappiness", 0),
            ("memory", "memory.oom_control", 1),
        ],
        [("memory.max", 64 * MB), ("memory.swap.max", 0)],
    ),
    ({"memory": {"limit": 0, "swap": 0, "reservation": 0}}, [], []),
    (
        {"cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"}},
        [
            ("cpu", "cpu.shares", 512),
            ("cpu", "cpu.cfs_period_us", 100000),
            ("cpu", "cpu.cfs_quota_us", 50000),
            ("cpuset", "cpuset.cpus", "0"),
            ("cpuset", "cpuset.mems", "0"),
        ],
        [("cpu.weight", 59), ("cpu.max", "50000 100000"), ("cpuset.cpus", "0"), ("cpuset.mems", "0")],
    ),
    ({"cpu": {"quota": -1}}, [("cpu", "cpu.cfs_quota_us", -1)], [("cpu.max", "max 100000")]),
    ({"cpu": {"period": 50000}}, [("cpu", "cpu.cfs_period_us", 50000)], [("cpu.max", "max 50000")]),
    ({"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""}}, [], []),
    ({"pids": {"limit": 10}}, [("pids", "pids.max", 10)], [("pids.max", 10)]),
    ({"pids": {"limit": -1}}, [("pids", "pids.max", "max")], [("pids.max", "max")]),
    ({"pids": {"limit": 0}}, [("pids", "pids.max", 1)], [("pids.max", 1)]),
    (
        {
            "blockIO": {
                "weight": 300,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 400}],
                "throttleReadBpsDevice": DEVICE,
                "throttleWriteIOPSDevice": DEVICE,
            }
        },
        [
            ("blkio", "blkio.weight", 300),
            ("blkio", "blkio.weight_device", "8:0 400"),
            ("blkio", "blkio.throttle.read_bps_device", "8:0 1000"),
            ("blkio", "blkio.throttle.write_iops_device", "8:0 1000"),
        ],
        [
            ("io.bfq.weight", "default 300"),
            ("io.bfq.weight", "8:0 400"),
            ("io.max", "8:0 rbps=1000"),
            ("io.max", "8:0 wiops=1000"),
        ],
    ),
    (
        {"blockIO": {"throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]}},
        [("blkio", "blkio.throttle.write_bps_device", "8:0 0")],
        [("io.max", "8:0 wbps=max")],
    ),
    ({"memory": None, "cpu": None, "pids": None, "blockIO": None, "devices": []}, [], []),
]


@pytest.mark.parametrize(("resources", "on_v1", "on_v2"), TABLE)
def test_limits_in_the_words_of_each_version(
    resources: dict[str, Any], on_v1: list[tuple[str, str, object]], on_v2: list[tuple[str, object]]
) -> None:
    assert v1.settings(resources) == on_v1
    assert v2.settings(resources) == on_v2


@pytest.mark.parametrize(
    ("shares", "weight"), [(1, 1), (2, 1), (512, 59), (1024, 100), (2048, 174), (262144, 10000), (999999, 10000)]
)
def test_shares_on_the_scale_of_weights(shares: int, weight: int) -> None:
    assert v2.weight(shares) == weight


# The real hierarchies


@pytest.fixture
def path() -> Iterator[str]:
    """A cgroup's name; whatever is made of it is removed."""
    if os.geteuid() != 0:
        pytest.skip("needs root: control groups")
    name = f"dosirak/test-{uuid.uuid4().hex}"
    yield name
    cgroups.remove(name)
    assert cgroup_folders(name) == []


def value(path: str, controller: str, name: str) -> str:
    backend = cgroups.backend()
    top = backend.mounts[controller] if isinstance(backend, v1.Hierarchies) else backend.root
    return Path(f"{top}/{path}/{name}").read_text().strip()


only_v1 = pytest.mark.skipif(cgroups.version() != "1", reason="this host has cgroup v2")


@only_v1
def test_limits_are_written_to_the_files(path: str) -> None:
    resources = {
        "memory": {"limit": 64 * MB, "swap": 128 * MB, "reservation": 32 * MB, "swappiness": 10},
        "cpu": {"shares": 512, "quota": 50000, "period": 80000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 77},
    }
    for fd in cgroups.create(path, resources):
        os.close(fd)
    assert value(path, "memory", "memory.limit_in_bytes") == str(64 * MB)
    assert value(path, "memory", "memory.memsw.limit_in_bytes") == str(128 * MB)
    assert value(path, "memory", "memory.soft_limit_in_bytes") == str(32 * MB)
    assert value(path, "memory", "memory.swappiness") == "10"
    assert value(path, "cpu", "cpu.shares") == "512"
    assert (value(path, "cpu", "cpu.cfs_quota_us"), value(path, "cpu", "cpu.cfs_period_us")) == ("50000", "80000")
    assert (value(path, "cpuset", "cpuset.cpus"), value(path, "cpuset", "cpuset.mems")) == ("0", "0")
    assert value(path, "pids", "pids.max") == "77"


@only_v1
@pytest.mark.parametrize(
    ("before", "after"), [((64, 64), (128, 128)), ((128, 128), (64, 64)), ((64, 128), (256, 512)), ((64, 64), (-1, -1))]
)
def test_memory_limits_are_changed_up_and_down(path: str, before: tuple[int, int], after: tuple[int, int]) -> None:
    """The kernel wants limit ≤ memory+swap at each moment, so the order depends on the direction."""

    def limits(pair: tuple[int, int]) -> dict[str, Any]:
        limit, swap = (number * MB if number > 0 else number for number in pair)
        return {"memory": {"limit": limit, "swap": swap}}

    for fd in cgroups.create(path, limits(before)):
        os.close(fd)
    cgroups.update(path, limits(after))
    found = [int(value(path, "memory", f"memory.{name}limit_in_bytes")) for name in ("", "memsw.")]
    if after[0] > 0:
        assert found == [number * MB for number in after]
    else:
        assert all(number > 1 << 60 for number in found)


@only_v1
def test_a_cpuset_alone_of_a_new_parent(path: str) -> None:
    """v1 gives a new cpuset neither cpus nor mems, and takes no process until it has both."""
    for fd in cgroups.create(f"{path}/deep/down", {"cpu": {"cpus": "0"}}):
        os.close(fd)
    assert value(f"{path}/deep/down", "cpuset", "cpuset.mems") != ""


def test_a_value_that_the_kernel_refuses_names_its_file(path: str) -> None:
    with pytest.raises(OSError, match=r"nvalid argument.*\(value 1\b.*cpu\."):
        cgroups.create(path, {"cpu": {"quota": 1, "period": 100000}})


@only_v1
def test_block_io_weights_go_where_the_kernel_has_them(path: str) -> None:
    for fd in cgroups.create(path, {"blockIO": {"weight": 300}}):
        os.close(fd)
    folder = Path(cgroups.backend().mounts["blkio"], path)
    names = [name for name in ("blkio.weight", "blkio.bfq.weight") if (folder / name).exists()]
    if not names:
        pytest.skip("this kernel has no block I/O weights")
    assert (folder / names[0]).read_text().split()[-1] == "300"


@only_v1
def test_a_cpuset_asked_for_later_takes_the_processes_in(path: str) -> None:
    fds = cgroups.create(path, {})
    child = subprocess.Popen(["sh", "-c", "sleep 100 & wait"], preexec_fn=lambda: [os.write(fd, b"0") for fd in fds])
    for fd in fds:
        os.close(fd)
    sync_until(lambda: len(cgroups.processes(path)) == 2)
    cgroups.update(path, {"cpu": {"cpus": "0"}})
    assert value(path, "cpuset", "cpuset.cpus") == "0"
    inside = [int(pid) for pid in value(path, "cpuset", "cgroup.procs").split()]
    assert sorted(inside) == sorted(cgroups.processes(path))
    cgroups.remove(path)
    assert child.wait() == -9


def sync_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_frozen_cgroup_stands_still_until_it_is_thawed(path: str) -> None:
    fds = cgroups.create(path, {})
    child = subprocess.Popen(
        ["sh", "-c", "while :; do echo .; done"],
        preexec_fn=lambda: [os.write(fd, b"0") for fd in fds],
        stdout=subprocess.PIPE,
    )
    for fd in fds:
        os.close(fd)
    assert child.stdout is not None
    assert child.stdout.read(2) == b".\n"
    assert not cgroups.frozen(path)
    cgroups.freeze(path)
    assert cgroups.frozen(path)
    os.set_blocking(child.stdout.fileno(), False)
    while child.stdout.read():
        pass
    time.sleep(0.05)
    assert child.stdout.read() is None
    cgroups.thaw(path)
    assert not cgroups.frozen(path)
    os.set_blocking(child.stdout.fileno(), True)
    assert child.stdout.read(2) == b".\n"
    child.stdout.close()
    cgroups.remove(path)
    child.wait()


@pytest.mark.parametrize("end", [cgroups.remove, cgroups.kill])
def test_a_frozen_cgroup_can_be_killed_and_removed(path: str, end: Callable[[str], None]) -> None:
    fds = cgroups.create(path, {})
    child = subprocess.Popen(["sleep", "100"], preexec_fn=lambda: [os.write(fd, b"0") for fd in fds])
    for fd in fds:
        os.close(fd)
    cgroups.freeze(path)
    end(path)
    assert child.wait(10) == -9


def test_what_is_gone_can_not_be_frozen_and_need_not_be_thawed(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        cgroups.freeze(path)
    cgroups.thaw(path)
    assert not cgroups.frozen(path)


def test_processes_are_found_killed_and_the_cgroup_removed(path: str) -> None:
    fds = cgroups.create(path, {})
    child = subprocess.Popen(
        ["sh", "-c", "sleep 100 & sleep 100"], preexec_fn=lambda: [os.write(fd, b"0") for fd in fds]
    )
    for fd in fds:
        os.close(fd)
    deadline = time.monotonic() + 5
    while len(cgroups.processes(path)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert child.pid in cgroups.processes(path)
    cgroups.remove(path)
    assert child.wait() == -9
    assert cgroup_folders(path) == []
    assert cgroups.processes(path) == []
    cgroups.remove(path)  # again is fine


def test_cgroups_that_the_container_made_go_too(path: str) -> None:
    for fd in cgroups.create(path, {}):
        os.close(fd)
    for folder in cgroup_folders(path):
        Path(folder, "inner/most").mkdir(parents=True)
    cgroups.remove(path)
    assert cgroup_folders(path) == []


def test_joining_a_cgroup_that_is_gone_is_an_error(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        cgroups.join_fds(path)


def test_the_unified_hierarchy_beside_v1(path: str) -> None:
    """The v2 code on the real cgroup2 mount of a hybrid host: no controllers there, but groups, processes and kill."""
    top = "/sys/fs/cgroup/unified" if cgroups.version() == "1" else "/sys/fs/cgroup"
    if not Path(top, "cgroup.procs").exists():
        pytest.skip("no cgroup2 mount")
    unified = v2.Hierarchy(top)
    (fd,) = unified.create(path, {})
    child = subprocess.Popen(["sleep", "100"], preexec_fn=lambda: os.write(fd, b"0"))
    os.close(fd)
    assert unified.processes(path) == [child.pid]
    assert unified.binds(path) == [("", f"{top}/{path}")]
    unified.kill(path)
    assert child.wait() == -9
    unified.remove(path)
    assert not Path(top, path).exists()
    assert unified.oom_kills(path) == 0
    unified.remove_parent(cgroups.PARENT)  # on a hybrid host no engine looks here


# Limits bite


def eat(megabytes: int) -> str:
    return f"dd if=/dev/zero of=/dev/shm/x bs=1M count={megabytes}"


async def test_out_of_memory_kills_and_is_told(box: Box) -> None:
    result = await box.run(f"exec {eat(40)}", resources={"memory": {"limit": 8 * MB}})
    assert (result.code, result.exit.oom) == (137, True)


async def test_a_child_killed_for_memory_is_told_too(box: Box) -> None:
    result = await box.run(f"{eat(40)}; echo survived; exit 3", resources={"memory": {"limit": 8 * MB}})
    assert (result.code, result.exit.oom, result.out) == (3, True, "survived\n")


async def test_without_the_limit_nothing_is_killed(box: Box) -> None:
    result = await box.run(f"exec {eat(40)}")
    assert (result.code, result.exit.oom) == (0, False)


async def test_an_exec_counts_as_the_container(box: Box) -> None:
    started = await box.start(["sleep", "60"], resources={"memory": {"limit": 8 * MB}})
    assert (await box.exec(started, f"exec {eat(40)}")).code == 137


async def test_out_of_memory_is_told_of_the_run_it_happened_in(box: Box) -> None:
    script = f"[ -e /second ] && exit 0; touch /second; exec {eat(40)}"
    bundle = box.bundle(["sh", "-c", script], resources={"memory": {"limit": 8 * MB}})
    ends = []
    task = await box.launch(bundle, restart=Restart("on-failure", 3))
    task.on_exit = lambda end, again: ends.append((end.code, end.oom, again))
    end = await ended(task)
    assert ends == [(137, True, True), (0, False, False)]
    assert (end.code, end.oom, end.restarts) == (0, False, 1)


async def test_a_limit_too_low_to_start_in_is_an_error(box: Box) -> None:
    bundle = box.bundle(["true"], resources={"memory": {"limit": 4096}})
    with pytest.raises(StartFailed, match=r"container init was OOM-killed \(memory limit too low\?\)"):
        await box.run(bundle)
    assert cgroup_folders(bundle.cgroup) == []


async def test_the_number_of_processes_is_limited_for_exec_too(box: Box) -> None:
    # A shell ends when it can't fork, so the first process is another one.
    script = "sh -c 'for i in 1 2 3 4 5 6 7 8 9; do sleep 60 & done; echo no'; exec sleep 60"
    started = await box.start(script, resources={"pids": {"limit": 5}})
    assert b"can't fork" in await started.wire.until(b"fork")
    assert len(cgroups.processes(started.bundle.cgroup)) <= 5
    result = None
    try:
        result = await box.exec(started, "sleep 1 & sleep 1 & sleep 1 & echo no")
    except StartFailed:
        return
    assert "can't fork" in result.err


async def test_processor_time_is_limited(box: Box) -> None:
    started = await box.start("while :; do :; done", resources={"cpu": {"quota": 10000, "period": 50000}})

    def throttled() -> int:
        lines = value(started.bundle.cgroup, "cpu", "cpu.stat").splitlines()
        return int(dict(line.split() for line in lines)["nr_throttled"])

    await until(lambda: throttled() >= 3, "the container to be throttled")


@only_v1
async def test_a_cpuset_binds(box: Box) -> None:
    result = await box.run("grep Cpus_allowed_list /proc/self/status", resources={"cpu": {"cpus": "0"}})
    assert result.fields()["Cpus_allowed_list"] == "0"


async def test_limits_of_a_running_container_can_be_changed(box: Box) -> None:
    started = await box.start(["sleep", "60"], resources={"memory": {"limit": 64 * MB}})
    await asyncio.to_thread(cgroups.update, started.bundle.cgroup, {"memory": {"limit": 8 * MB}, "pids": {"limit": 3}})
    assert (await box.exec(started, f"exec {eat(40)}")).code == 137


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"cpu": {"quota": 1, "period": 100000}}, "invalid argument"),
        ({"cpu": {"cpus": "999"}}, r"invalid argument|numerical result out of range"),
        ({"memory": {"limit": "x"}}, "invalid argument"),
    ],
)
async def test_an_impossible_limit_is_an_error_and_leaves_nothing(
    box: Box, resources: dict[str, Any], words: str
) -> None:
    bundle = box.bundle(["true"], resources=resources)
    with pytest.raises(StartFailed, match=words):
        await box.run(bundle)
    assert cgroup_folders(bundle.cgroup) == []


async def test_a_cgroup_that_can_not_be_made_is_an_error(box: Box) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["cgroupsPath"] = "dosirak/test-\n"  # /proc/N/cgroup could not be parsed: the kernel says no

    bundle = box.bundle(["true"], change=change)
    with pytest.raises(StartFailed, match="invalid argument"):
        await box.run(bundle)
    box.bundles.remove(bundle)


async def test_without_a_cgroup_a_container_runs_in_the_engines(box: Box) -> None:
    def change(spec: dict[str, Any]) -> None:
        del spec["linux"]["cgroupsPath"]

    bundle = box.bundle(["sh", "-c", "echo $$"], change=change)
    box.bundles.remove(bundle)
    assert (await box.run(bundle)).out == "1\n"


async def test_the_monitor_is_not_in_the_containers_cgroup(box: Box) -> None:
    """CVE-2019-14891: a supervisor killed for its container's memory."""
    started = await box.start(["sleep", "60"])
    monitor = int(Path(f"/proc/{started.task.pid}/stat").read_text().rpartition(")")[2].split()[1])
    inside = cgroups.processes(started.bundle.cgroup)
    assert started.task.pid in inside
    assert monitor not in inside


def test_an_empty_parent_goes_and_one_in_use_stays() -> None:
    parent = f"dosirak-test-{uuid.uuid4().hex[:8]}"
    for fd in cgroups.create(f"{parent}/one", {}):
        os.close(fd)
    folders = cgroup_folders(parent)
    assert folders
    cgroups.remove_parent(parent)
    assert cgroup_folders(parent) == folders
    cgroups.remove(f"{parent}/one")
    cgroups.remove_parent(parent)
    cgroups.remove_parent(parent)  # gone already: fine
    assert cgroup_folders(parent) == []
    for fd in cgroups.create(f"{parent}/two", {"pids": {"limit": 5}}):  # made again when it is needed again
        os.close(fd)
    cgroups.remove(f"{parent}/two")
    cgroups.remove_parent(parent)
