"""The rules of the unified hierarchy: who hands controllers down, and groups that a container makes itself."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import statistics

pytestmark = pytest.mark.skipif(cgroups.version() != "2", reason="this host has cgroup v1")
ROOT = Path("/sys/fs/cgroup")


@pytest.fixture
def path() -> Iterator[str]:
    """A group of the test's own."""
    found = f"dosirak-test-{uuid.uuid4().hex[:8]}"
    yield found
    cgroups.remove(found)


def create(path: str, resources: dict[str, object]) -> Path:
    for fd in cgroups.create(path, resources):
        os.close(fd)
    return ROOT / path


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen]:
    """A process that can be moved about."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def test_controllers_are_handed_down_through_groups_of_others(path: str) -> None:
    """`--cgroup-parent` may name a group whose maker handed nothing down."""
    (ROOT / path / "inner").mkdir(parents=True)
    made = create(f"{path}/inner/one", {"pids": {"limit": 5}})
    assert (made / "pids.max").read_text() == "5\n"
    assert (made / "memory.oom.group").read_text() == "0\n"  # one killed for memory does not end the others


def test_what_is_above_a_delegated_group_is_left_alone(path: str) -> None:
    delegated = ROOT / path / "delegated"
    delegated.mkdir(parents=True)
    os.setxattr(delegated, "trusted.delegate", b"1")
    create(f"{path}/delegated/one", {})
    assert (ROOT / path / "cgroup.subtree_control").read_text().split() == []
    # The same without the mark: controllers come down all the way.
    (ROOT / path / "plain").mkdir()
    made = create(f"{path}/plain/one", {})
    assert "pids" in (ROOT / path / "cgroup.subtree_control").read_text().split()
    assert (made / "pids.max").exists()


def test_below_a_group_with_processes_only_what_limits_nothing_can_be_made(
    path: str, sleeper: subprocess.Popen
) -> None:
    (ROOT / path).mkdir()
    (ROOT / path / "cgroup.procs").write_text(str(sleeper.pid))
    create(f"{path}/one", {})
    with pytest.raises(OSError, match=r"no cgroup controller for memory\.max"):
        cgroups.update(f"{path}/one", {"memory": {"limit": 1 << 20}})
    figures = statistics.read(f"{path}/one")
    assert (figures.memory.usage, figures.pids, figures.io_bytes) == (0, 0, [])
    sleeper.kill()
    sleeper.wait()


def test_a_group_that_its_container_divided_is_joinable_again(path: str, sleeper: subprocess.Popen) -> None:
    made = create(path, {})
    (made / "inner").mkdir()
    (made / "inner/cgroup.procs").write_text(str(sleeper.pid))
    (made / "cgroup.subtree_control").write_text("+pids +memory")
    with pytest.raises(OSError, match="busy"):
        (made / "cgroup.procs").write_text("0")
    pidfd = os.pidfd_open(sleeper.pid)
    (fd,) = cgroups.join_beside_fds(path, pidfd)
    os.close(pidfd)
    another = subprocess.Popen(["sleep", "1000"], preexec_fn=lambda: os.write(fd, b"0"))
    os.close(fd)
    assert (made / "inner/cgroup.procs").read_text().split() == [str(sleeper.pid), str(another.pid)]
    cgroups.kill(path)
    assert another.wait() == sleeper.wait() == -9
    cgroups.renew(path)
    assert not (made / "inner").exists()
    (fd,) = cgroups.join_fds(path)
    last = subprocess.Popen(["sleep", "1000"], preexec_fn=lambda: os.write(fd, b"0"))
    os.close(fd)
    assert (made / "cgroup.procs").read_text().split() == [str(last.pid)]
    cgroups.kill(path)
    last.wait()
