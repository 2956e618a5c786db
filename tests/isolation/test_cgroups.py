"""Limits as files of the kernel, and that they bite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.engines import Engine, wait_for

from .conftest import Box

V2 = (Path("/sys/fs/cgroup") / "cgroup.controllers").exists()

# flags → controller, then file and content on version 1 and on version 2
LIMITS = {
    "memory": (("--memory", "64m"), "memory", ("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864")),
    "pids": (("--pids-limit", "20"), "pids", ("pids.max", "20"), ("pids.max", "20")),
    "cpus": (("--cpus", "0.5"), "cpu", ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")),
    "shares": (("--cpu-shares", "512"), "cpu", ("cpu.shares", "512"), ("cpu.weight", "59")),
    "cpuset": (("--cpuset-cpus", "0"), "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_is_in_the_kernels_file(box: Callable[..., Box], limit: str) -> None:
    flags, controller, v1, v2 = LIMITS[limit]
    container = box(*flags)
    name, content = v2 if V2 else v1
    group = container.cgroup(controller)
    assert group.parent.name == "dosirak"
    assert (group / name).read_text().strip() == content
    assert str(container.pid) in (group / "cgroup.procs").read_text().split()


def test_each_container_has_a_group_of_its_own_in_every_hierarchy(box: Callable[..., Box]) -> None:
    container = box()
    for line in (container.proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if set(controllers.split(",")) & {"memory", "cpu", "pids", "devices", "freezer"} or (V2 and not controllers):
            assert path == f"/dosirak/{container.id}", line


def test_a_further_process_is_in_the_group_too_and_the_monitor_is_not(box: Callable[..., Box]) -> None:
    container = box()
    container.sh("sleep 500 > /dev/null 2>&1 &")
    members = (container.cgroup("pids") / "cgroup.procs").read_text().split()
    assert len(members) == 2
    parent = next(line for line in (container.proc / "status").read_text().splitlines() if line.startswith("PPid"))
    assert parent.split()[1] not in members


def test_too_much_memory_ends_in_137_and_says_so(engine: Engine, busybox: str) -> None:
    # A tmpfs counts too, and filling one needs no special program.
    script = "dd if=/dev/zero of=/dev/shm/fill bs=1M count=60"
    done = engine.docker("run", "--name", "greedy", "-m", "16m", busybox, "sh", "-c", f"exec {script}", check=False)
    assert done.returncode == 137
    state = engine.client.api.inspect_container("greedy")["State"]
    assert state["OOMKilled"] is True
    assert state["ExitCode"] == 137
    engine.docker("run", "--rm", "-m", "128m", busybox, "sh", "-c", f"exec {script}")  # the control


def test_a_fork_bomb_stops_at_the_limit(box: Callable[..., Box]) -> None:
    container = box("--pids-limit", "10")
    said = container.sh("for n in $(seq 30); do sleep 300 > /dev/null 2>&1 & done", check=False)
    assert "can't fork" in said or "Resource temporarily unavailable" in said
    assert len((container.cgroup("pids") / "cgroup.procs").read_text().split()) <= 10
    wide = box("--pids-limit", "50")  # the control
    wide.sh("for n in $(seq 30); do sleep 300 > /dev/null 2>&1 & done")
    assert len((wide.cgroup("pids") / "cgroup.procs").read_text().split()) > 30


def test_processor_time_is_cut_to_the_quota(box: Callable[..., Box]) -> None:
    container = box("--cpus", "0.05")  # which it gets on a busy machine, too
    container.sh("(while :; do :; done) > /dev/null 2>&1 &")
    statistics = container.cgroup("cpu") / "cpu.stat"

    def throttled() -> bool:
        return any(
            line.startswith("nr_throttled") and int(line.split()[1]) > 2 for line in statistics.read_text().splitlines()
        )

    wait_for(throttled, 30, "the kernel to throttle the container")


def test_a_removed_container_leaves_no_group(box: Callable[..., Box], engine: Engine) -> None:
    container = box("--memory", "64m")
    groups = [container.cgroup(controller) for controller in ("memory", "pids", "cpu", "freezer")]
    assert all(group.exists() for group in groups)
    engine.docker("rm", "-f", container.id)
    wait_for(lambda: not any(group.exists() for group in groups), 5, "the control groups to go")


@pytest.mark.skipif(not V2, reason="of cgroup v1 a container sees its own groups in any case")
def test_with_the_hosts_cgroup_namespace_the_whole_hierarchy_is_seen(box: Callable[..., Box]) -> None:
    own, shared = box(), box("--cgroupns", "host")
    assert own.sh("cat /proc/self/cgroup; ls -d /sys/fs/cgroup/pids.max").split() == ["0::/", "/sys/fs/cgroup/pids.max"]
    path = shared.sh("cat /proc/self/cgroup").removeprefix("0::")
    assert path == f"/dosirak/{shared.id}"
    assert str(shared.pid) in (Path("/sys/fs/cgroup") / path.lstrip("/") / "cgroup.procs").read_text().split()
    assert shared.sh(f"ls -d /sys/fs/cgroup{path}/pids.max").endswith("/pids.max")
    assert "Read-only" in shared.sh("mkdir /sys/fs/cgroup/x", check=False)


@pytest.mark.skipif(not V2, reason="on cgroup v1 groups inside keep nobody out")
def test_a_container_that_divides_its_group_takes_execs_and_restarts(box: Callable[..., Box], engine: Engine) -> None:
    """As systemd does inside a container: a group that has handed controllers down takes no process."""
    container = box("--privileged")
    divide = "mkdir own; for p in $(cat cgroup.procs); do echo $p > own/cgroup.procs; done; echo +pids"
    container.sh(f"cd /sys/fs/cgroup; {divide} > cgroup.subtree_control")
    assert container.sh("cat /proc/self/cgroup") == "0::/own"
    engine.docker("restart", "-t", "0", container.id)
    assert container.sh("cat /proc/self/cgroup; ls -d /sys/fs/cgroup/own 2> /dev/null || true") == "0::/"


def test_from_inside_no_limit_can_be_raised(box: Callable[..., Box]) -> None:
    container = box("--pids-limit", "20")
    said = container.sh("f=$(find /sys/fs/cgroup -name pids.max | head -n 1); cat $f; echo max > $f; true", check=False)
    assert "20" in said
    assert "Read-only file system" in said
