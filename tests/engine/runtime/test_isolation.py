"""Namespaces of a container, seen from inside and compared with the host's."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.errors import StartFailed
from dosirak.engine.runtime import defaults
from dosirak.engine.supervision.model import Restart
from support.bundles import Box, ended, until

KINDS = {
    "mount": "mnt",
    "uts": "uts",
    "ipc": "ipc",
    "pid": "pid",
    "network": "net",
    "cgroup": "cgroup",
    "user": "user",
    "time": "time",
}
LINKS = "for n in mnt uts ipc pid net cgroup user time; do echo $n: $(readlink /proc/self/ns/$n); done"


def host(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{KINDS[kind]}")


# Namespaces


async def test_every_namespace_is_its_own(box: Box) -> None:
    result = await box.run(LINKS)
    fields = result.fields()
    for kind in defaults.NAMESPACES:
        assert fields[KINDS[kind]].startswith(KINDS[kind] + ":[")
        assert fields[KINDS[kind]] != host(kind), kind
    assert fields["user"] == host("user")


@pytest.mark.parametrize("shared", [kind for kind in defaults.NAMESPACES if kind != "mount"])
async def test_a_namespace_that_is_not_asked_for_is_the_hosts(box: Box, shared: str) -> None:
    fields = (await box.run(LINKS, namespaces=[kind for kind in defaults.NAMESPACES if kind != shared])).fields()
    for kind in defaults.NAMESPACES:
        assert (fields[KINDS[kind]] == host(kind)) is (kind == shared), kind


@pytest.mark.parametrize("by", ["descriptor", "path"])
@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid", "cgroup"])
async def test_a_namespace_is_joined(box: Box, kind: str, by: str) -> None:
    first = await box.start(f"readlink /proc/self/ns/{KINDS[kind]}; exec sleep 60", namespaces=[*defaults.NAMESPACES])
    wanted = (await first.wire.until(b"]\n"))[8:].decode().strip()
    path = f"/proc/{first.task.pid}/ns/{KINDS[kind]}"

    def by_path(spec: dict[str, Any]) -> None:
        for entry in spec["linux"]["namespaces"]:
            if entry["type"] == kind:
                entry["path"] = path

    if by == "path":
        result = await box.run(LINKS, change=by_path)
    else:
        fd = os.open(path, os.O_RDONLY)
        result = await box.run(LINKS, options={"join": {kind: fd}})
        os.close(fd)
    fields = result.fields()
    assert fields[KINDS[kind]] == wanted
    for other in defaults.NAMESPACES:
        if other != kind:
            assert fields[KINDS[other]] not in (host(other), wanted)


async def test_a_container_in_anothers_pid_namespace_leaves_nothing_there(box: Box) -> None:
    first = await box.start(["sleep", "60"])
    fd = os.open(f"/proc/{first.task.pid}/ns/pid", os.O_RDONLY)
    started = await box.start("sleep 1000 & sleep 1001 & ps -o args; exit 3", options={"join": {"pid": fd}})
    os.close(fd)
    result = await started.finish()
    assert result.code == 3
    assert "sleep 60" in result.out
    left = await box.exec(first, ["ps", "-o", "args"])
    assert "sleep 100" not in left.out


async def test_restarts_join_the_same_namespace_and_lose_no_descriptor(box: Box) -> None:

    first = await box.start(["sleep", "60"])
    path = f"/proc/{first.task.pid}/ns/ipc"

    def join(spec: dict[str, Any]) -> None:
        next(entry for entry in spec["linux"]["namespaces"] if entry["type"] == "ipc")["path"] = path

    bundle = box.bundle(["sh", "-c", "readlink /proc/self/ns/ipc; sleep 0.1; exit 1"], change=join)
    task = await box.launch(bundle, restart=Restart("on-failure", 3))
    # From the second run on it is the monitor that tells of it, and has all that belongs to it by then.
    await until(lambda: task.restarts == 1 and task.pid, "the first restart")
    monitor = int(Path(f"/proc/{task.pid}/stat").read_text().rpartition(")")[2].split()[1])
    before = sorted(os.readlink(f"/proc/{monitor}/fd/{fd}") for fd in os.listdir(f"/proc/{monitor}/fd"))
    await until(lambda: task.restarts == 3 and task.pid, "the third restart")
    after = sorted(os.readlink(f"/proc/{monitor}/fd/{fd}") for fd in os.listdir(f"/proc/{monitor}/fd"))
    assert len(after) <= len(before), (before, after)
    await ended(task)
    assert bundle.logged() == (os.readlink(path) + "\n") * 4


async def test_host_and_domain_name(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "hostname; cat /proc/sys/kernel/domainname; exec sleep 60"])
    bundle.spec["domainname"] = "example"
    started = await box.start(bundle.write())
    await started.wire.until(b"example\n")
    assert (await box.exec(started, "hostname; cat /proc/sys/kernel/domainname")).out == "box\nexample\n"


async def test_its_processes_are_all_it_sees(box: Box) -> None:
    result = await box.run(["ps", "-o", "pid,args"])
    assert [line.split(None, 1) for line in result.out.splitlines()[1:]] == [["1", "ps -o pid,args"]]


async def test_a_network_namespace_has_no_link_but_lo(box: Box) -> None:
    box.network = -1  # one of its own
    result = await box.run("ls /sys/class/net; wc -l < /proc/net/route; readlink /proc/self/ns/net")
    assert result.out.startswith("lo\n0\n")
    assert result.out.split()[-1] != host("network")


async def test_its_cgroup_is_its_root(box: Box) -> None:
    result = await box.run("cat /proc/self/cgroup")
    paths = {line.partition(":")[2].partition(":")[0]: line.rpartition(":")[2] for line in result.out.splitlines()}
    controllers = [name for name in paths if name and not name.startswith("name=")]
    assert controllers
    assert {paths[name] for name in ("memory", "pids", "cpu")} == {"/"}


# User and time


def remapped(spec: dict[str, Any]) -> None:
    """Numbers from 200000 up on the host."""
    spec["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        spec["linux"][name] = [{"containerID": 0, "hostID": 200_000, "size": 65536}]
    for mount in spec["mounts"]:
        if mount["type"] == "overlay":
            mount["options"].append("userxattr")


async def test_a_user_namespace_with_id_maps(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "id -u; echo again >/dev/stdout; sleep 60"], change=remapped)
    for folder in ("upper", "work", "rootfs"):
        os.chown(bundle.path / folder, 200_000, 200_000)
    started = await box.start(bundle)
    await started.wire.until(b"again")
    status = Path(f"/proc/{started.task.pid}/status").read_text()
    assert "Uid:\t200000\t200000\t200000\t200000\n" in status
    assert os.readlink(f"/proc/{started.task.pid}/ns/user") != host("user")
    result = await box.exec(started, "id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user; echo x >/dev/stdout")
    assert result.out.split()[:4] == ["0", "0", "200000", "65536"]
    assert result.out.split()[4:] == [os.readlink(f"/proc/{started.task.pid}/ns/user"), "x"], result.err
    user = await box.exec(started, "id -u; echo x >/dev/stdout", user={"username": "5"})
    assert (user.out, user.err) == ("5\nx\n", "")
    started.kill()
    result = await started.finish()
    assert (result.out, result.err) == ("0\nagain\n", "")


async def test_a_user_namespace_with_a_terminal_and_a_plain_user(box: Box) -> None:
    script = "id -u; tty; stat -c %u /dev/pts/0; echo x >/dev/tty"
    bundle = box.bundle(["sh", "-c", script], change=remapped, user="7", tty=True)
    for folder in ("upper", "work", "rootfs"):
        os.chown(bundle.path / folder, 200_000, 200_000)
    result = await box.run(bundle)
    assert result.out == "7\r\n/dev/pts/0\r\n7\r\nx\r\n"


async def test_a_user_namespace_without_maps_is_an_error(box: Box) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["namespaces"].append({"type": "user"})

    with pytest.raises(StartFailed):
        await box.run("true", change=change)


async def test_a_time_namespace_with_offsets(box: Box) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["namespaces"].append({"type": "time"})
        spec["linux"]["timeOffsets"] = {"monotonic": {"secs": 5000, "nanosecs": 0}, "boottime": {"secs": 86400 * 365}}

    started = await box.start("cut -d. -f1 /proc/uptime; exec sleep 60", change=change)
    await started.wire.until(b"\n")
    inside = int(bytes(started.wire.data[8:]).split()[0])
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert 0 <= inside - (uptime + 86400 * 365) + 30 < 60
    assert os.readlink(f"/proc/{started.task.pid}/ns/time") != host("time")
    other = await box.exec(started, "cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time")
    assert int(other.out.split()[0]) > 86400 * 365, "an exec lives in the same time"
    assert other.out.split()[1] == os.readlink(f"/proc/{started.task.pid}/ns/time")
