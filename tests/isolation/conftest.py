"""Running containers, seen from outside: by their process in the host's /proc."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.engines import Engine

ALL_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


class Box:
    """A container that sleeps, and its process."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.id = engine, name

    @property
    def pid(self) -> int:
        return int(self.engine.client.api.inspect_container(self.id)["State"]["Pid"])

    @property
    def proc(self) -> Path:
        return Path(f"/proc/{self.pid}")

    def namespaces(self) -> dict[str, int]:
        return namespaces(self.pid)

    def status(self) -> dict[str, str]:
        """The fields of /proc/PID/status."""
        return fields((self.proc / "status").read_text())

    def sh(self, script: str, *flags: str, check: bool = True) -> str:
        """Run a shell script inside; what it wrote, without the final newline."""
        done = self.engine.docker("exec", *flags, self.id, "sh", "-c", script, check=check)
        return (done.stdout + ("" if check else done.stderr)).rstrip("\n")

    def cgroup(self, controller: str) -> Path:
        """Its directory in the host's control group tree that has `controller`."""
        for line in (self.proc / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return Path(f"/sys/fs/cgroup/{controller}{path}")
        return Path(f"/sys/fs/cgroup{path}")


def fields(status: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}


def namespaces(pid: int | str) -> dict[str, int]:
    """Inode numbers of a process's namespaces."""
    return {kind: os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in ALL_NAMESPACES}


@pytest.fixture
def box(engine: Engine, busybox: str) -> Callable[..., Box]:
    """Starts a sleeping container with the given flags of `docker run`."""

    def start(*flags: str, image: str = busybox) -> Box:
        return Box(engine, engine.docker("run", "-d", *flags, image, "sleep", "600").stdout.strip())

    return start
