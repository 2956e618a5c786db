"""The container's file systems: mountinfo as the kernel tells it, masked and read-only paths, device nodes."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import Box


class Mount(NamedTuple):
    at: str
    kind: str
    options: set[str]
    optional: list[str]
    super_options: set[str]
    root: str


def mounts(container: Box) -> dict[str, Mount]:
    """By mount point; the uppermost where several lie on each other."""
    found = {}
    for line in (container.proc / "mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        _, _, _, root, at, options, *optional = left.split(" ")
        kind, _, super_options = right.split(" ", 2)
        found[at] = Mount(at, kind, set(options.split(",")), optional, set(super_options.split(",")), root)
    return found


EXPECTED = {
    "/": ("overlay", {"rw"}),
    "/proc": ("proc", {"nosuid", "noexec", "nodev"}),
    "/dev": ("tmpfs", {"nosuid"}),
    "/dev/pts": ("devpts", {"nosuid", "noexec"}),
    "/dev/shm": ("tmpfs", {"nosuid", "noexec", "nodev"}),
    "/dev/mqueue": ("mqueue", {"nosuid", "noexec", "nodev"}),
    "/sys": ("sysfs", {"ro", "nosuid", "noexec", "nodev"}),
}


def test_the_mounts_are_dockers(box: Callable[..., Box]) -> None:
    found = mounts(box())
    for at, (kind, options) in EXPECTED.items():
        assert found[at].kind == kind, at
        assert options <= found[at].options, at
    others = {at for at in found if not at.startswith(("/proc/", "/sys/"))} - set(EXPECTED)
    assert others == {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
    assert "size=65536k" in found["/dev/shm"].super_options
    assert {"mode=620", "ptmxmode=666"} <= found["/dev/pts"].super_options


def test_the_control_group_tree_is_mounted_read_only(box: Callable[..., Box]) -> None:
    found = {at: mount for at, mount in mounts(box()).items() if at.startswith("/sys/fs/cgroup")}
    assert found
    for mount in found.values():
        assert "ro" in mount.options, mount


def test_no_mount_leads_back_to_the_host(box: Callable[..., Box]) -> None:
    # The old root is gone, and nothing propagates: neither shared with nor slave to the host.
    container = box()
    found = mounts(container)
    assert {at: mount.optional for at, mount in found.items() if mount.optional} == {}
    masks = {at for at, mount in found.items() if mount.root == "/null"}
    on_disk = {at for at, mount in found.items() if mount.kind not in {"overlay", "tmpfs", "proc", "sysfs"}} - masks
    assert on_disk <= {
        *("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/pts", "/dev/mqueue"),
        *(at for at in found if at.startswith("/sys/fs/cgroup")),
    }


def test_the_hosts_mount_table_knows_nothing_of_a_container(box: Callable[..., Box]) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    container = box()
    assert container.pid
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"])
def test_masked_files_read_as_empty(box: Callable[..., Box], path: str) -> None:
    container = box()
    if not Path(path).exists():
        pytest.skip(f"this kernel has no {path}")
    assert container.sh(f"stat -c %t:%T {path}; wc -c < {path}") == "1:3\n0"


@pytest.mark.parametrize("path", ["/proc/acpi", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"])
def test_masked_directories_are_empty_and_read_only(box: Callable[..., Box], path: str) -> None:
    container = box()
    if not Path(path).exists():
        pytest.skip(f"this kernel has no {path}")
    assert container.sh(f"ls -A {path}") == ""
    assert "ro" in mounts(container)[path].options


@pytest.mark.parametrize(
    "path",
    [
        *("/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern"),
        *("/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"),
    ],
)
def test_the_kernels_switches_can_not_be_moved(box: Callable[..., Box], path: str) -> None:
    container = box()
    if not Path(path).exists():
        pytest.skip(f"this kernel has no {path}")
    said = container.sh(f"echo 1 > {path}; true", check=False)
    assert "Read-only file system" in said


def test_device_nodes_are_the_six_and_no_disk(box: Callable[..., Box]) -> None:
    container = box()
    dev = container.proc / "root/dev"
    nodes = {
        path.name: (found.st_rdev >> 8, found.st_rdev & 0xFF, stat.S_IMODE(found.st_mode))
        for path in dev.iterdir()
        if stat.S_ISCHR((found := path.lstat()).st_mode) or stat.S_ISBLK(found.st_mode)
    }
    assert nodes == {
        "null": (1, 3, 0o666),
        "zero": (1, 5, 0o666),
        "full": (1, 7, 0o666),
        "random": (1, 8, 0o666),
        "urandom": (1, 9, 0o666),
        "tty": (5, 0, 0o666),
    }
    links = {path.name: str(path.readlink()) for path in dev.iterdir() if path.is_symlink()}
    assert links == {
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
        "core": "/proc/kcore",
        "ptmx": "pts/ptmx",
    }
    assert {path.name for path in dev.iterdir()} - set(nodes) - set(links) == {"pts", "shm", "mqueue"}


def test_a_read_only_root_can_not_be_written_but_its_tmpfs_can(box: Callable[..., Box]) -> None:
    container = box("--read-only", "--tmpfs", "/scratch")
    assert "Read-only file system" in container.sh("touch /file", check=False)
    assert "Read-only file system" in container.sh("echo x >> /etc/hosts", check=False)
    assert container.sh("touch /scratch/file && ls /scratch") == "file"
    assert {"nosuid", "nodev", "noexec"} <= mounts(container)["/scratch"].options


def test_what_a_container_writes_stays_in_its_own_upper_directory(box: Callable[..., Box]) -> None:
    first, second = box(), box()
    first.sh("echo secret > /root/mine")
    assert second.sh("ls -A /root") == ""
    details = first.engine.client.api.inspect_container(first.id)["GraphDriver"]
    upper = Path(details["Data"]["UpperDir"])
    assert (upper / "root/mine").read_text() == "secret\n"
    for lower in details["Data"]["LowerDir"].split(":"):
        assert not (Path(lower) / "root/mine").exists()


def test_the_shared_memory_size_is_as_asked(box: Callable[..., Box]) -> None:
    assert "size=16384k" in mounts(box("--shm-size", "16m"))["/dev/shm"].super_options
