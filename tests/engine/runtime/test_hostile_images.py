"""Images and neighbours that want a mount, a mask or a device node to land elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.errors import StartFailed
from dosirak.engine.runtime import syscalls
from support.bundles import Box, bind

Python = Callable[[str], list[str]]

# Hostile images and neighbours


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("target", ["/etc", "../../../../../../tmp", "/"])
async def test_an_image_whose_proc_sys_or_dev_is_a_symlink_is_refused(box: Box, name: str, target: str) -> None:
    """CVE-2019-19921, CVE-2026-41579."""
    layer = box.layer(**{name: f"->{target}"})
    with pytest.raises(StartFailed, match=f"mounting '/{name}'"):
        await box.run("ls /etc", lower=[layer])


async def test_symlinks_below_dev_are_refused_too(box: Box, tmp_path: Path) -> None:
    """A volume on /dev, prepared by somebody else."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "pts").symlink_to("/etc")

    def change(spec: dict[str, Any]) -> None:
        spec["mounts"][2] = bind(volume, "/dev")

    with pytest.raises(StartFailed, match="mounting '/dev/pts'"):
        await box.run("true", change=change)


@pytest.mark.parametrize("tty", [False, True])
async def test_a_volume_on_dev_can_not_unmask(box: Box, tmp_path: Path, tty: bool) -> None:
    """CVE-2025-31133, CVE-2025-52565: /dev/null and /dev/console as symlinks to what must not be shown or written."""
    volume = tmp_path / "volume"
    for folder in ("pts", "shm", "mqueue"):
        (volume / folder).mkdir(parents=True)
    for name in ("null", "console", "ptmx"):
        (volume / name).symlink_to("/proc/sys/kernel/core_pattern")
    before = sorted(os.listdir(volume))

    def change(spec: dict[str, Any]) -> None:
        spec["mounts"][2] = bind(volume, "/dev")

    target = "/proc/sys/kernel/core_pattern"
    pattern = Path(target).read_text()
    script = f"cat /proc/keys /proc/timer_list /proc/kcore; cat {target}; echo evil >{target}"
    if tty:
        with pytest.raises(StartFailed, match="/dev/console"):
            await box.run(script, change=change, tty=tty)
    else:
        result = await box.run(script, change=change)
        assert result.out == pattern
        assert "Read-only" in result.err
    assert Path(target).read_text() == pattern
    assert sorted(os.listdir(volume)) == before, "nodes were made in somebody's volume"


async def test_the_hosts_dev_as_a_volume_is_left_as_it_is(box: Box) -> None:
    """No node or link is made in it."""

    def change(spec: dict[str, Any]) -> None:
        spec["mounts"] = [entry for entry in spec["mounts"] if not entry["destination"].startswith("/dev")]
        spec["mounts"].append(bind("/dev", "/dev"))

    before = {entry.name: entry.inode() for entry in os.scandir("/dev")}
    assert (await box.run("echo x >/dev/null; echo ok", change=change)).out == "ok\n"
    assert {entry.name: entry.inode() for entry in os.scandir("/dev")} == before


async def test_mounting_below_an_exchanged_directory_never_leads_out(box: Box, tmp_path: Path, marker: Path) -> None:
    """CVE-2021-30465, CVE-2024-45310: a neighbour exchanges a shared volume's directory for a symlink to the host."""
    volume = tmp_path / "volume"
    (volume / "swap").mkdir(parents=True)
    (volume / "other").symlink_to("../" * 12 + str(marker.parent))
    stop = box.root / "stop"
    program = (
        f"import os, sys; sys.path[:0] = {[str(Path(syscalls.__file__).parents[4] / 'src')]!r}\n"
        "from dosirak.engine.runtime.syscalls import renameat2\n"
        f"fd = os.open({str(volume)!r}, os.O_PATH)\n"
        f"while not os.path.exists({str(stop)!r}):\n"
        "    for _ in range(200): renameat2(fd, 'swap', fd, 'other', 2)\n"
    )

    racer = subprocess.Popen([sys.executable, "-c", program])
    refused = mounted = 0
    try:
        source = tmp_path / "source"
        source.mkdir()
        (source / "inside").touch()
        for number in range(60):
            mounts = [bind(volume, "/vol"), bind(source, f"/vol/swap/made{number}"), bind(source, "/vol/swap")]
            try:
                await box.run(["true"], mounts=mounts, options={"log_file": None})
                mounted += 1
            except StartFailed:
                refused += 1
    finally:
        stop.touch()
        racer.wait()
        stop.unlink()
    assert mounted + refused == 60
    # The marker fixture looks that nothing was made beside it; the mounts must not show on the host either.
    assert "inside" not in os.listdir(marker.parent)


async def test_a_chroot_escape_stays_inside(
    box: Box, python: Python, python_mounts: list[dict[str, Any]], marker: Path
) -> None:
    script = f"""
import os
os.makedirs("/jail", exist_ok=True)
fd = os.open("/", os.O_RDONLY)
os.chroot("/jail")
os.fchdir(fd)
for _ in range(50): os.chdir("..")
os.chroot(".")
print(os.path.exists({str(marker)!r}), sorted(os.listdir("/"))[:3])
"""
    result = await box.run(python(script), mounts=python_mounts)
    assert result.out.startswith("False ['bin', 'dev', 'etc']"), result.err


async def test_read_only_paths_refuse_writes(box: Box) -> None:
    paths = [
        *("/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/core_pattern"),
        *("/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/sys/kernel/mm/ksm/run"),
        *("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"),
    ]
    script = """for p in $PATHS; do
        [ -e $p ] && { (echo x >$p) 2>&1 | grep -q 'Read-only' && echo "$p: ro" || echo "$p: WRITTEN"; }
    done; mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x"""
    result = await box.run(script, env=["PATH=/bin", "PATHS=" + " ".join(paths)])
    assert "WRITTEN" not in result.out
    assert "/proc/sys/kernel/core_pattern: ro" in result.out
    assert result.out.count("ro\n") >= 4
    assert "Read-only file system" in result.err
