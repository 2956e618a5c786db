"""Engines that get hurt, and a look at what they then have on disk."""

from __future__ import annotations

import os
from pathlib import Path

from support.engines import Engine, alive
from support.host import engine_processes


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def launcher(engine: Engine) -> int:
    """The launcher: the service's child that runs launcher.py."""
    found = [pid for pid in children(engine.pid) if b"launcher" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(found) == 1, found
    return found[0]


def container_pid(engine: Engine, name: str) -> int:
    """The first process of a running container, as the host numbers it."""
    return int(engine.client.api.inspect_container(name)["State"]["Pid"])


def monitor(engine: Engine, name: str) -> int:
    """The parent of a container's first process."""
    status = Path(f"/proc/{container_pid(engine, name)}/status").read_text()
    parent = int(next(line for line in status.splitlines() if line.startswith("PPid")).split()[1])
    assert alive(parent)
    assert parent > 1
    return parent


def tree(folder: Path) -> set[str]:
    """Every path below `folder` but the database's own files."""
    found = set()
    for top, directories, files in os.walk(folder):
        for name in (*directories, *files):
            path = Path(top) / name
            if not path.name.startswith("state.db"):
                found.add(str(path.relative_to(folder)))
    return found


def supervised(mark: str) -> int:
    """How many containers' processes and monitors run (of all engines)."""
    return len([process for process in engine_processes(mark) if not process.is_service])
