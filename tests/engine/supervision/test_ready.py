"""What a spare makes ahead of a start: it fits, or is left aside, and nothing of it stays."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.runtime import cgroups, defaults, syscalls
from dosirak.engine.supervision.client import Launcher
from support.bundles import Box, cgroup_folders, descendants, ended, until

GROUPS = "cat /proc/self/cgroup"
RULES = {"devices": defaults.DEVICE_RULES}
needs_v1 = pytest.mark.skipif(cgroups.version() != "1", reason="on version 2 no group is made ahead: it has no rename")


async def wait_for_spares(launcher: Launcher) -> list[int]:
    """The pids of its children, once those for containers have made their groups."""

    def found() -> list[int]:
        return [pid for pid in descendants(launcher.pid) if cgroup_folders(f"dosirak/spare-{pid}")]

    await until(lambda: len(found()) == 2, "the spares to be ready")
    return found()


@needs_v1
async def test_a_spare_s_groups_become_the_container_s(box: Box, own_launcher: Launcher) -> None:
    spares = await wait_for_spares(own_launcher)
    bundle = box.bundle(["sh", "-c", GROUPS], resources=RULES)
    task = await box.launch(bundle, launcher=own_launcher)
    await ended(task)
    inside = {line.split(":")[1]: line.split(":")[2] for line in bundle.logged().split()}
    assert inside["memory"] == inside["devices"] == "/"  # of its own cgroup namespace
    gone = [pid for pid in spares if not cgroup_folders(f"dosirak/spare-{pid}")]
    assert len(gone) == 1


@needs_v1
@pytest.mark.parametrize(
    ("resources", "denied"),
    [
        ({}, False),
        (RULES, True),
        ({"devices": [{"allow": True, "access": "rwm"}]}, False),
    ],
)
async def test_device_rules_are_those_asked_for(
    box: Box, own_launcher: Launcher, resources: dict[str, Any], denied: bool
) -> None:
    """Whoever has the node's number (devices.txt: for local use) says something else, if anything."""
    await wait_for_spares(own_launcher)
    bundle = box.bundle(["sh", "-c", "mknod /node c 254 255; cat /node"], resources=resources)
    await ended(await box.launch(bundle, launcher=own_launcher))
    assert ("Operation not permitted" in bundle.logged("stderr")) == denied


@needs_v1
async def test_a_limit_of_a_further_controller_has_its_group_too(box: Box, own_launcher: Launcher) -> None:
    await wait_for_spares(own_launcher)
    script = "cat /sys/fs/cgroup/cpuset/cpuset.cpus; cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    resources = {**RULES, "cpu": {"cpus": "0"}, "memory": {"limit": 64 << 20}}
    bundle = box.bundle(["sh", "-c", script], resources=resources)
    await ended(await box.launch(bundle, launcher=own_launcher))
    assert bundle.logged().split() == ["0", str(64 << 20)]


@needs_v1
async def test_groups_below_another_parent_are_made_anew(box: Box, own_launcher: Launcher) -> None:
    spares = await wait_for_spares(own_launcher)
    bundle = box.bundle(["true"], resources=RULES)
    parent = f"dosirak/parent-{bundle.path.name}"
    bundle.spec["linux"]["cgroupsPath"] = f"{parent}/child"
    assert (await ended(await box.launch(bundle.write(), launcher=own_launcher))).code == 0
    cgroups.remove_parent(parent)
    assert len([pid for pid in spares if cgroup_folders(f"dosirak/spare-{pid}")]) == 1


@pytest.mark.parametrize("kind", ["uts", "ipc"])
async def test_a_namespace_of_the_host_is_the_host_s(box: Box, own_launcher: Launcher, kind: str) -> None:
    await ended(await box.launch(box.bundle(), launcher=own_launcher))
    kinds = [name for name in defaults.NAMESPACES if name != kind]

    def keep_name(spec: dict[str, Any]) -> None:
        spec.pop("hostname")

    bundle = box.bundle(["readlink", f"/proc/self/ns/{kind}"], namespaces=kinds, change=keep_name)
    await ended(await box.launch(bundle, launcher=own_launcher))
    assert bundle.logged().strip() == os.readlink(f"/proc/self/ns/{kind}")


async def test_each_container_has_namespaces_of_its_own(box: Box, own_launcher: Launcher) -> None:
    tasks = [await box.launch(box.bundle(["sleep", "100"]), launcher=own_launcher) for _ in range(4)]
    pids = [os.getpid(), own_launcher.pid, *(task.pid for task in tasks)]
    for kind in ("mnt", "uts", "ipc", "pid", "time"):
        assert len({os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids}) == 5, kind


def tmpfs_on(place: Path) -> None:
    """Mount one, private to this mount namespace and its copies."""
    place.mkdir()
    fs = syscalls.fsopen("tmpfs")
    syscalls.fsconfig_create(fs)
    tree = syscalls.fsmount(fs, 0)
    target = os.open(place, os.O_PATH)
    syscalls.move_mount(tree, target)
    for fd in (fs, tree, target):
        os.close(fd)
    syscalls.mount(None, str(place), None, syscalls.MS_PRIVATE)


async def test_a_folder_on_a_mount_younger_than_the_spares(box: Box, own_launcher: Launcher) -> None:
    await ended(await box.launch(box.bundle(), launcher=own_launcher))
    root = box.root
    box.root = root / "younger"
    tmpfs_on(box.root)
    try:
        for _ in range(3):
            bundle = box.bundle(["sh", "-c", "echo here > /file; cat /file"])
            await ended(await box.launch(bundle, launcher=own_launcher))
            assert bundle.logged() == "here\n"
            assert (bundle.path / "upper/file").read_text() == "here\n"
    finally:
        syscalls.umount2(str(box.root), syscalls.MNT_DETACH)
        box.root = root


async def test_spares_hold_no_mount_of_the_host_s(box: Box, own_launcher: Launcher) -> None:
    """Whoever unmounts a disk wants to take it away."""
    place = box.root / "disk"
    tmpfs_on(place)
    await ended(await box.launch(box.bundle(), launcher=own_launcher))  # spares are forked after it
    await asyncio.sleep(0.3)
    syscalls.umount2(str(place), 0)
    for pid in descendants(own_launcher.pid):
        assert str(place) not in Path(f"/proc/{pid}/mountinfo").read_text()


@needs_v1
async def test_nothing_of_spares_is_left_by_killed_ones_or_their_launcher(box: Box, own_launcher: Launcher) -> None:
    spares = await wait_for_spares(own_launcher)
    for pid in spares:
        os.kill(pid, signal.SIGKILL)

    def left() -> list[str]:
        return [folder for pid in spares for folder in cgroup_folders(f"dosirak/spare-{pid}")]

    await until(lambda: not left(), "their groups to go")
    spares = await wait_for_spares(own_launcher)
    await own_launcher.close()
    assert not left()
    await own_launcher.start()
    spares = await wait_for_spares(own_launcher)
    for pid in (own_launcher.pid, *spares):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in spares), "them to end")
    await own_launcher.close()
    await own_launcher.start()  # the next one sweeps
    await until(lambda: not left(), "their groups to go")
