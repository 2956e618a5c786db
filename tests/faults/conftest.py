"""Engines that get hurt, and a look at what they then have on disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engines import Engine, alive, new_settings, wait_for


@pytest.fixture
def small() -> Iterator[Engine]:
    """An engine whose data root is a tmpfs of 12 MB, with the small image on it."""
    settings = new_settings("d")
    settings.data.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=0710", "dosirak-test", str(settings.data)], check=True)
    engine = Engine(settings)
    try:
        engine.start()
        engine.import_busybox()
        yield engine
        engine.remove_containers()
        engine.close_client()
        engine.kill(signal.SIGTERM)
    finally:
        subprocess.run(["umount", str(settings.data)], check=True)
        shutil.rmtree(settings.data.parent)


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


def tree(engine: Engine) -> set[str]:
    """Every path of the engine's data root that stands for something.

    Not the database's own files, nor folders prepared for containers to come, nor the empty workplaces of rooms.
    """
    data, found = engine.settings.data, set()
    for top, directories, files in os.walk(data):
        for name in (*directories, *files):
            path = (Path(top) / name).relative_to(data)
            if not (path.name.startswith("state.db") or path.parts[0] == "spare" or len(path.parts) == 1):
                found.add(str(path))
    return found


def settled(engine: Engine) -> set[str]:
    """The tree once nothing waits for its removal any more."""
    trash = engine.settings.data / "trash"
    wait_for(lambda: not trash.is_dir() or not os.listdir(trash), 10, "the trash to be emptied")
    return tree(engine)


def returns_to(engine: Engine, before: set[str], what: str) -> None:
    """Wait until the tree is as it was; shows what is new otherwise."""
    try:
        wait_for(lambda: tree(engine) == before, 10, what)
    except AssertionError:
        assert sorted(tree(engine) ^ before) == []
