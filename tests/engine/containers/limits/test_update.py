"""Update on real containers: the kernel's files, the record, and what stays when it can't be."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from dosirak.engine.containers import UpdateRequest
from dosirak.engine.containers.documents import RestartPolicy
from dosirak.engine.containers.limits import group
from dosirak.engine.errors import Conflict, HostLimit, InvalidRequest, NotFound, StartFailed
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import v1
from support.bundles import until

MB = 1 << 20


def value(rig, container_id, controller, on_v1, on_v2=None):
    """A cgroup file's text, on the host as it is."""
    backend, path = cgroups.backend(), group.path_of(rig.containers.get(container_id))
    if isinstance(backend, v1.Hierarchies):
        return Path(backend.mounts[controller], path, on_v1).read_text().strip()
    return Path(backend.root, path, on_v2 or on_v1).read_text().strip()


def memory(rig, container_id):
    return int(value(rig, container_id, "memory", "memory.limit_in_bytes", "memory.max"))


async def update(rig, ref, **fields):
    policy = fields.pop("restart_policy", RestartPolicy())
    return await rig.containers.limits.update(ref, UpdateRequest(restart_policy=policy, **fields))


async def test_limits_of_a_running_container_change_at_once_and_for_good(rig):
    container_id = await rig.start("sleep", "60", host={"memory": 64 * MB, "cpu_shares": 512})
    assert await update(rig, container_id, memory=96 * MB, pids_limit=33, cpu_quota=20000, cpuset_cpus="0") == []
    assert memory(rig, container_id) == 96 * MB
    assert value(rig, container_id, "pids", "pids.max") == "33"
    assert value(rig, container_id, "cpuset", "cpuset.cpus") == "0"
    assert "20000" in value(rig, container_id, "cpu", "cpu.cfs_quota_us", "cpu.max")
    host = rig.containers.get(container_id).host_config
    assert (host.memory, host.memory_swap, host.pids_limit, host.cpu_shares) == (96 * MB, 128 * MB, 33, 512)
    code, out, _ = await rig.exec(container_id, "grep", "Cpus_allowed_list", "/proc/1/status")
    assert (code, out.split()[-1]) == (0, "0")
    await rig.containers.restart(container_id, timeout=0)
    assert memory(rig, container_id) == 96 * MB
    assert value(rig, container_id, "cpuset", "cpuset.cpus") == "0"


async def test_a_stopped_container_starts_with_its_new_limits(rig):
    container_id = await rig.create("sleep", "60")
    await update(rig, container_id, memory=64 * MB, memory_swap=128 * MB)
    await rig.containers.start(container_id)
    assert memory(rig, container_id) == 64 * MB


async def test_a_paused_container_can_be_updated(rig):
    container_id = await rig.start("sleep", "60")
    await rig.containers.pause(container_id)
    await update(rig, container_id, pids_limit=9)
    assert value(rig, container_id, "pids", "pids.max") == "9"
    assert rig.containers.get(container_id).state.paused


async def test_new_limits_hold_when_the_policy_starts_it_again(rig):
    host = {"memory": 64 * MB, "restart_policy": RestartPolicy(name="always")}
    container_id = await rig.start("sleep", "60", host=host)
    await update(rig, container_id, memory=96 * MB, memory_swap=96 * MB)
    record = rig.containers.get(container_id)
    pid = record.state.pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: record.restart_count == 1 and record.state.pid not in (0, pid))
    assert memory(rig, container_id) == 96 * MB


async def test_a_limit_that_is_taken_away_is_gone(rig):
    container_id = await rig.start("sleep", "60", host={"pids_limit": 20})
    await update(rig, container_id, pids_limit=0)
    assert value(rig, container_id, "pids", "pids.max") == "max"


async def test_a_restart_policy_changes_while_it_runs(rig):
    container_id = await rig.start("sh", "-c", "sleep 0.3; exit 3")
    await update(rig, container_id, restart_policy=RestartPolicy(name="on-failure", maximum_retry_count=2))
    record = rig.containers.get(container_id)
    assert record.host_config.restart_policy.maximum_retry_count == 2
    await until(lambda: record.restart_count == 2 and record.state.status == "exited", seconds=20)


async def test_a_crash_loop_ends_when_its_policy_is_taken_away(rig):
    container_id = await rig.start("false", host={"restart_policy": RestartPolicy(name="always")})
    record = rig.containers.get(container_id)
    await until(lambda: record.restart_count >= 1)
    await update(rig, container_id, restart_policy=RestartPolicy(name="no"))
    await until(lambda: record.state.status == "exited", seconds=30)


async def test_what_the_kernel_refuses_changes_nothing(rig):
    container_id = await rig.start("sleep", "60", host={"cpu_period": 100_000, "pids_limit": 20})
    before = rig.containers.get(container_id).host_config
    if cgroups.version() == "1":
        script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 && sleep 60"
        eater = await rig.start("sh", "-c", script, host={"memory": 64 * MB, "memory_swap": 64 * MB})
        used = Path(cgroups.backend().mounts["memory"], "dosirak", eater, "memory.usage_in_bytes")
        await until(lambda: int(used.read_text()) > 40 * MB)
        with pytest.raises(HostLimit, match=rf"^Cannot update container {eater}: unable to set memory limit to"):
            await update(rig, eater, memory=8 * MB, pids_limit=7)
        assert memory(rig, eater) == 64 * MB
        assert value(rig, eater, "pids", "pids.max") == "max"
        assert rig.containers.get(eater).host_config.memory == 64 * MB
    with pytest.raises(InvalidRequest, match=r"^Requested CPUs are not available"):
        await update(rig, container_id, cpuset_cpus="0-4000", pids_limit=5)
    assert rig.containers.get(container_id).host_config == before
    assert value(rig, container_id, "pids", "pids.max") == "20"


async def test_contradictions_name_the_container(rig):
    container_id = await rig.create("true", host={"nano_cpus": 500_000_000})
    with pytest.raises(Conflict, match=rf"^Cannot update container {container_id}: Conflicting options: CPU Quota"):
        await update(rig, container_id, cpu_quota=5000)
    with pytest.raises(NotFound, match=r"^No such container: nope$"):
        await update(rig, "nope", cpu_shares=5)
    with pytest.raises(InvalidRequest, match=r"^Minimum memory limit allowed is 6MB$"):
        await update(rig, "nope", memory=5)


async def test_a_parent_that_is_no_cgroup_is_an_error_and_leaves_nothing(rig):
    name = "cgroup.procs"
    container_id = await rig.create("true", host={"cgroup_parent": f"/dosirak/{name}"})
    with pytest.raises(StartFailed, match="not a directory"):
        await rig.containers.start(container_id)
    assert rig.containers.get(container_id).state.status == "created"
    await rig.containers.remove(container_id)


async def test_a_cgroup_parent_holds_the_container(rig):
    parent = "/dosirak/../dosirak/test-parent"
    container_id = await rig.start("sleep", "60", host={"cgroup_parent": parent, "pids_limit": 50})
    record = rig.containers.get(container_id)
    assert group.path_of(record) == f"dosirak/test-parent/{container_id}"
    assert record.host_config.cgroup_parent == parent
    assert value(rig, container_id, "pids", "pids.max") == "50"
    await update(rig, container_id, pids_limit=51)
    assert value(rig, container_id, "pids", "pids.max") == "51"
    assert len((await rig.containers.top(container_id)).processes) == 1
    assert (await rig.exec(container_id, "true"))[0] == 0
    await rig.containers.pause(container_id)
    await rig.containers.kill(container_id)
    backend = cgroups.backend()
    tops = set(backend.mounts.values()) if isinstance(backend, v1.Hierarchies) else {backend.root}
    await until(lambda: not any(Path(top, "dosirak/test-parent", container_id).exists() for top in tops))
    cgroups.remove_parent("dosirak/test-parent")
