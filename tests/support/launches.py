"""Fixtures of tests that launch on the real kernel without an engine service (`support.bundles`)."""

from __future__ import annotations

import inspect
import os
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dosirak.engine.supervision.client import Launcher
from support.bundles import Box, alive, descendants, new_network, until
from support.engines import session_base
from support.rootfs import make_root


def share_a_loop(items: list[pytest.Item], folder: Path) -> None:
    """One event loop a worker for a folder's tests, so that they can share a launcher."""
    for item in items:
        if folder in item.path.parents and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def busybox_root() -> Iterator[Path]:
    """The image: never written to."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces, mounts and control groups of the real kernel")
    folder = _folder("image-")
    yield make_root(folder / "root")
    shutil.rmtree(folder)


def _folder(prefix: str) -> Path:
    """One that a remapped user may walk through, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=session_base()))
    made.chmod(0o711)
    return made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_launcher() -> AsyncIterator[Launcher]:
    made = Launcher()
    await made.start()
    yield made
    inside = descendants(made.pid)
    await made.close()
    await until(lambda: not [pid for pid in inside if alive(pid, inside[pid])], "the launcher's processes to end")


@pytest.fixture(scope="session")
def network(busybox_root: Path) -> Iterator[int]:
    """A network namespace for the worker's containers."""
    fd = new_network()
    yield fd
    os.close(fd)


@pytest_asyncio.fixture(loop_scope="session")
async def box(busybox_root: Path, shared_launcher: Launcher, network: int) -> AsyncIterator[Box]:
    made = Box(_folder("box-"), busybox_root, shared_launcher, network)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def own_launcher() -> AsyncIterator[Launcher]:
    """A launcher of the test's own, to be killed."""
    made = Launcher()
    await made.start()
    yield made
    await made.close()


@pytest.fixture(scope="session")
def python_mounts() -> list[dict[str, Any]]:
    """Read-only binds that bring the host's Python into a container (`python()` runs it)."""
    places = dict.fromkeys(("/usr", "/lib", "/lib64", sys.base_prefix))
    found = []
    for place in places:
        if Path(place).is_dir() and not (place != "/usr" and place.startswith("/usr/")):
            found.append({"destination": place, "type": "bind", "source": place, "options": ["rbind", "ro"]})
    return found


@pytest.fixture
def python() -> Callable[[str], list[str]]:
    """The command that runs a Python script in a container with `python_mounts`."""
    return lambda script: [os.path.realpath(sys.executable), "-I", "-S", "-c", script]


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file of the host with a secret, which must stay as it is."""
    folder = tmp_path / "host"
    folder.mkdir()
    path = folder / "marker"
    secret = uuid.uuid4().hex
    path.write_text(secret)
    before = path.stat()
    yield path
    after = path.stat()
    assert path.read_text() == secret
    assert (after.st_ino, after.st_nlink, after.st_mode, after.st_uid) == (
        before.st_ino,
        before.st_nlink,
        before.st_mode,
        before.st_uid,
    )
    assert os.listdir(folder) == ["marker"]


@pytest.fixture(autouse=True)
def host_is_untouched() -> Iterator[None]:
    """The host's name, mount namespace and core pattern; its mounts are looked at by the box."""

    def state() -> tuple[str, ...]:
        pattern = Path("/proc/sys/kernel/core_pattern").read_text()
        return socket.gethostname(), os.readlink("/proc/self/ns/mnt"), pattern

    before = state()
    yield
    assert state() == before
