"""Files of the kernel that would give the host away or away to: control groups, /proc, /sys, devices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.engines import Engine
from support.rootfs import changed_root

from .conftest import Marker, Probe

OPENING = """
import errno, json, os
found = []
for top in %r:
    for folder, _, names in os.walk(top):
        for name in names:
            if name in %r:
                try:
                    os.close(os.open(f"{folder}/{name}", os.O_WRONLY))
                    found.append(f"{folder}/{name}")
                except OSError:
                    pass
print(json.dumps(found))
"""
GROUP_FILES = (
    *("release_agent", "notify_on_release", "cgroup.procs", "tasks", "devices.allow", "devices.deny", "memory.max"),
    *("memory.limit_in_bytes", "pids.max", "cgroup.subtree_control", "cpu.max", "cpuset.cpus"),
)


def test_no_file_of_a_control_group_can_be_written(probe: Probe) -> None:
    # CVE-2022-0492: release_agent is run by the host.
    assert probe(OPENING % (["/sys/fs/cgroup"], GROUP_FILES)) == []


def test_a_privileged_container_can_write_them(outside: Probe) -> None:
    assert outside(OPENING % (["/sys/fs/cgroup"], GROUP_FILES), "--privileged")  # the control


SWITCHES = ("core_pattern", "sysrq-trigger", "modprobe", "hotplug", "uevent_helper", "poweroff_cmd", "binfmt_misc")
TOPS = ["/proc/sys/kernel", "/sys/kernel", "/proc/sys/fs", "/proc/sys/vm"]


def test_no_switch_of_the_kernel_can_be_moved(probe: Probe) -> None:
    assert probe(OPENING % (TOPS, SWITCHES)) == []


def test_a_privileged_container_can_move_them(outside: Probe) -> None:
    assert "/proc/sys/kernel/core_pattern" in outside(OPENING % (TOPS, SWITCHES), "--privileged")  # the control


READING = """
import json, os
found = {}
for path in %r:
    try:
        with open(path, "rb") as file:
            found[path] = len(file.read(64))
    except OSError as error:
        found[path] = -error.errno
print(json.dumps(found))
"""
TELLING = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/kmsg", "/dev/kmsg", "/dev/mem")


def test_nothing_of_the_kernels_memory_and_log_can_be_read(probe: Probe) -> None:
    assert {path: size for path, size in probe(READING % (TELLING,)).items() if size > 0} == {}


def test_on_the_host_some_of_it_can_be() -> None:
    # The control: the files have content. Not kcore and kmsg: reading them here would take long, or messages away.
    readable = [path for path in ("/proc/keys", "/proc/interrupts", "/proc/timer_list") if Path(path).exists()]
    assert any(Path(path).read_bytes() for path in readable)


NODES = """
import json, os, stat
found = {}
for name, kind, number in %r:
    node = f"/tmp/{name}"
    os.mknod(node, kind | 0o600, os.makedev(*number))
    try:
        os.close(os.open(node, os.O_RDONLY | os.O_NONBLOCK))
        found[name] = "open"
    except OSError as error:
        found[name] = error.errno
    os.unlink(node)
print(json.dumps(found))
"""
_C, _B = 0o020000, 0o060000
DEVICES = [("mem", _C, (1, 1)), ("loop0", _B, (7, 0)), ("kmsg", _C, (1, 11)), ("hwrng", _C, (10, 183))]


def test_a_node_of_a_device_of_the_host_can_be_made_but_not_opened(probe: Probe) -> None:
    assert set(probe(NODES % (DEVICES,)).values()) == {1}


def test_a_device_that_is_given_can_be_opened(outside: Probe) -> None:
    # The control, with what this machine has.
    given = next((name for name in ("hwrng", "loop0") if Path(f"/dev/{name}").exists()), None)
    if given is None:
        pytest.skip("no device here that a test may open")
    found = outside(NODES % (DEVICES,), "--device", f"/dev/{given}")
    assert found.pop(given) == "open"
    assert set(found.values()) == {1}


def test_dockers_names_of_device_permissions_are_checked(engine: Engine, busybox: str) -> None:
    done = engine.docker("run", "--rm", "--device-cgroup-rule", "c 1:3 x", busybox, "true", check=False)
    assert done.returncode == 125
    assert "invalid device cgroup" in done.stderr.lower()


def test_an_image_whose_etc_is_a_link_to_the_host_gets_no_file_there(engine: Engine, marker: Marker) -> None:
    # hosts, hostname and resolv.conf are never written through the container's /etc.
    engine.docker("import", "-", "evil-etc", stdin=changed_root(links={"etc": str(marker.folder)}), text=False)
    engine.docker("run", "--rm", "evil-etc", "/bin/true", check=False)
    engine.docker("rmi", "-f", "evil-etc")


@pytest.mark.parametrize("target", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"])
def test_a_volume_on_dev_can_not_turn_a_mask_into_a_window(engine: Engine, busybox: str, target: str) -> None:
    # CVE-2025-31133: /dev/null, which covers masked files, as a link to what shall be opened.
    engine.docker("volume", "create", "dev")
    engine.docker(
        "run", "--rm", "-v", "dev:/d", busybox, "sh", "-c", f"ln -s {target} /d/null; ln -s {target} /d/console"
    )
    script = "wc -c < /proc/kcore; wc -c < /proc/keys; echo x > /proc/kcore; cat /proc/sys/kernel/core_pattern"
    for flags in ((), ("-t",)):
        done = engine.docker("run", "--rm", "-v", "dev:/dev", *flags, busybox, "sh", "-c", script, check=False)
        assert "core_pattern" not in done.stdout
    assert Path("/proc/sys/kernel/core_pattern").read_text() != "x\n"
    engine.docker("volume", "rm", "dev")
    assert os.access("/proc/sys/kernel/core_pattern", os.W_OK)  # the control: it could have been written
