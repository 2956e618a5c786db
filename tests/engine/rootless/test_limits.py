"""Limits of an ordinary user's containers, where the user was handed a part of the control groups of version 2:
`test_delegated` runs it as that user, in such a part."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dosirak.engine.runtime.cgroups import v2
from support.engines import Engine, wait_for
from support.rootless import VARIABLE

pytestmark = pytest.mark.skipif(
    os.environ.get(VARIABLE) != "outside" or v2.detect_delegated() is None, reason="test_delegated runs it"
)


@pytest.fixture
def group(engine: Engine) -> Callable[[str], Path]:
    """The directory of a container's control group."""

    def find(name: str) -> Path:
        pid = engine.client.api.inspect_container(name)["State"]["Pid"]
        return Path("/sys/fs/cgroup" + Path(f"/proc/{pid}/cgroup").read_text().strip().partition("::")[2])

    return find


def test_limits_are_in_the_kernels_files_and_change(
    engine: Engine, docker: Callable, busybox: str, group: Callable[[str], Path]
) -> None:
    info = engine.client.info()
    assert (info["CgroupDriver"], info["CgroupVersion"], info["MemoryLimit"]) == ("cgroupfs", "2", True)
    assert "name=apparmor" not in info["SecurityOptions"]  # which this kernel has
    done = docker(
        "run", "-d", "--name", "box", "-m", "32m", "--pids-limit", "20", "--cpus", "0.5", busybox, "sleep", "99"
    )
    assert "WARNING" not in done.stderr
    own = group("box")
    root = v2.detect_delegated()
    assert root is not None
    assert own.is_relative_to(root.root)
    found = [(own / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")]
    assert found == [str(32 << 20), "20", "50000 100000"]
    docker("update", "-m", "48m", "--memory-swap", "48m", "box")
    assert (own / "memory.max").read_text().strip() == str(48 << 20)
    assert "48MiB" in docker("stats", "--no-stream", "box").stdout
    docker("rm", "-f", "box")
    wait_for(lambda: not own.exists(), 10, "its group to go")


def test_limits_bite(engine: Engine, docker: Callable, busybox: str) -> None:
    fill = "exec dd if=/dev/zero of=/dev/shm/fill bs=1M count=60"
    assert docker("run", "--name", "greedy", "-m", "16m", busybox, "sh", "-c", fill, check=False).returncode == 137
    assert engine.client.api.inspect_container("greedy")["State"]["OOMKilled"] is True
    # The control.
    assert docker("run", "--rm", "-m", "128m", busybox, "sh", "-c", fill).returncode == 0
    forks = "for n in 1 2 3 4 5 6 7 8 9; do sleep 9 & done"
    done = docker("run", "--rm", "--pids-limit", "5", busybox, "sh", "-c", forks, check=False)
    assert "can't fork" in done.stderr
    assert "can't fork" not in docker("run", "--rm", "--pids-limit", "50", busybox, "sh", "-c", forks).stderr


def test_a_container_is_paused_and_goes_on(docker: Callable, busybox: str, group: Callable[[str], Path]) -> None:
    docker("run", "-d", "--name", "box", busybox, "sleep", "99")
    docker("pause", "box")
    assert "frozen 1" in (group("box") / "cgroup.events").read_text()
    assert "(Paused)" in docker("ps").stdout
    docker("unpause", "box")
    assert "frozen 0" in (group("box") / "cgroup.events").read_text()
    assert docker("exec", "box", "echo", "on").stdout == "on\n"
