"""What a container sees and may do: namespaces, mounts, users, capabilities, limits, as asked by run's flags."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dosirak.engine.containers.documents import DeviceMapping, Mount, TmpfsOptions, Ulimit
from dosirak.engine.errors import Conflict, EngineError, InvalidRequest
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import v1


def capability_masks(text):
    return {line.split(":")[0]: int(line.split()[1], 16) for line in text.splitlines() if line.startswith("Cap")}


async def test_every_namespace_is_its_own(rig):
    ran = await rig.run("sh", "-c", "for n in mnt uts ipc pid net cgroup; do readlink /proc/self/ns/$n; done")
    inside = ran.out.split()
    outside = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "uts", "ipc", "pid", "net", "cgroup")]
    assert not set(inside) & set(outside)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ({"network_mode": "host"}, "net"),
        ({"pid_mode": "host"}, "pid"),
        ({"ipc_mode": "host"}, "ipc"),
        ({"uts_mode": "host"}, "uts"),
        ({"cgroupns_mode": "host"}, "cgroup"),
    ],
)
async def test_a_namespace_shared_with_the_host(rig, host, name):
    ran = await rig.run("readlink", f"/proc/self/ns/{name}", host=host)
    assert ran.out.strip() == os.readlink(f"/proc/self/ns/{name}")


@pytest.mark.parametrize(("field", "name"), [("network_mode", "net"), ("pid_mode", "pid"), ("ipc_mode", "ipc")])
async def test_a_namespace_shared_with_another_container(rig, field, name):
    other = await rig.start("sleep", "100", name="other", host={"ipc_mode": "shareable"})
    theirs = os.readlink(f"/proc/{rig.containers.get(other).state.pid}/ns/{name}")
    ran = await rig.run("readlink", f"/proc/self/ns/{name}", host={field: "container:other"})
    assert ran.out.strip() == theirs
    assert getattr(rig.containers.get(ran.id).host_config, field) == f"container:{other}"


async def test_joining_a_stopped_container_is_refused(rig):
    await rig.create("true", name="other")
    container_id = await rig.create("true", host={"network_mode": "container:other"})
    with pytest.raises(Conflict, match="cannot join network namespace of a non running container"):
        await rig.containers.start(container_id)


async def test_shared_memory_of_a_shareable_container_is_shared_and_gone_after_it(rig):
    other = await rig.start("sh", "-c", "echo hello > /dev/shm/x; exec sleep 100", host={"ipc_mode": "shareable"})
    for _ in range(100):
        ran = await rig.run("cat", "/dev/shm/x", host={"ipc_mode": f"container:{other}"})
        if ran.out:
            break
    assert ran.out == "hello\n"
    await rig.containers.kill(other)
    assert other not in Path("/proc/self/mountinfo").read_text()


async def test_a_private_container_does_not_share_its_memory(rig):
    other = await rig.start("sleep", "100")
    container_id = await rig.create("true", host={"ipc_mode": f"container:{other}"})
    with pytest.raises(InvalidRequest, match="non-shareable IPC"):
        await rig.containers.start(container_id)


async def test_the_network_of_another_container_brings_its_files(rig):
    await rig.start("sleep", "100", name="other", hostname="lunch", host={"network_mode": "bridge"})
    ran = await rig.run("cat", "/etc/hostname", host={"network_mode": "container:other"})
    assert ran.out == "lunch\n"


async def test_hostname_domain_and_hosts(rig):
    ran = await rig.run(
        "sh",
        "-c",
        "hostname; cat /proc/sys/kernel/domainname; cat /etc/hosts",
        hostname="lunch",
        domainname="example.org",
        host={"network_mode": "bridge", "extra_hosts": ["db:10.1.2.3"]},
    )
    lines = ran.out.splitlines()
    assert lines[:2] == ["lunch", "example.org"]
    assert "10.1.2.3\tdb" in lines
    assert any(line.endswith("lunch.example.org lunch") for line in lines)


async def test_the_default_capabilities_and_a_users(rig):
    masks = capability_masks((await rig.run("cat", "/proc/self/status")).out)
    assert masks["CapEff"] == masks["CapPrm"] == masks["CapBnd"] == 0xA80425FB
    assert masks["CapInh"] == masks["CapAmb"] == 0
    for user in ("user", "1000"):
        masks = capability_masks((await rig.run("cat", "/proc/self/status", user=user)).out)
        assert masks == {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0xA80425FB, "CapAmb": 0}


async def test_capabilities_dropped_and_added(rig):
    host = {"cap_drop": ["ALL"], "cap_add": ["NET_ADMIN"]}
    masks = capability_masks((await rig.run("cat", "/proc/self/status", host=host)).out)
    assert masks["CapEff"] == 1 << 12


async def test_privileged_has_all_that_the_engine_has_and_devices(rig):
    ran = await rig.run("sh", "-c", "cat /proc/self/status; ls /dev | wc -l", host={"privileged": True})
    held = capability_masks(Path("/proc/self/status").read_text())["CapBnd"]
    assert capability_masks(ran.out)["CapEff"] == held
    assert int(ran.out.splitlines()[-1]) >= 15


async def test_an_exec_has_the_containers_capabilities_and_privileged_all(rig):
    container_id = await rig.start("sleep", "100")
    _, out, _ = await rig.exec(container_id, "cat", "/proc/self/status")
    assert capability_masks(out)["CapEff"] == 0xA80425FB
    _, out, _ = await rig.exec(container_id, "cat", "/proc/self/status", privileged=True)
    assert capability_masks(out)["CapEff"] == capability_masks(Path("/proc/self/status").read_text())["CapBnd"]


async def test_no_new_privileges_holds_for_exec_too(rig):
    container_id = await rig.start("sleep", "100", host={"security_opt": ["no-new-privileges"]})
    _, out, _ = await rig.exec(container_id, "grep", "NoNewPrivs", "/proc/self/status", "/proc/1/status")
    assert out.split() == ["/proc/self/status:NoNewPrivs:", "1", "/proc/1/status:NoNewPrivs:", "1"]


async def test_users_and_groups(rig):
    ran = await rig.run("sh", "-c", "id -u; id -g; id -G", user="user", host={"group_add": ["55"]})
    uid, gid, groups = ran.out.splitlines()
    assert (uid, gid, sorted(groups.split())) == ("1000", "1000", ["1000", "29", "55"])
    container_id = await rig.create("true", user="nobody-here")
    with pytest.raises(EngineError, match="unable to find user nobody-here: no matching entries in passwd file"):
        await rig.containers.start(container_id)


async def test_a_readonly_root(rig):
    ran = await rig.run(
        "sh",
        "-c",
        "touch /x; echo $?; touch /etc/hosts; echo $?; touch /run/x; echo $?; touch /dev/shm/x; echo $?",
        host={"readonly_rootfs": True, "tmpfs": {"/run": ""}},
    )
    assert ran.out.split() == ["1", "1", "0", "0"]


async def test_binds(rig, tmp_path):
    (tmp_path / "file").write_text("from the host")
    host = {"binds": [f"{tmp_path}:/data", f"{tmp_path}:/fixed:ro", f"{tmp_path}/made/here:/made"]}
    ran = await rig.run(
        "sh", "-c", "cat /data/file; echo in > /data/new; touch /fixed/no; echo $?; touch /made/yes", host=host
    )
    assert ran.out == "from the host1\n"
    assert (tmp_path / "new").read_text() == "in\n"
    assert (tmp_path / "made/here/yes").exists() and not (tmp_path / "no").exists()


async def test_mounts(rig, tmp_path):
    (tmp_path / "file").write_text("x")
    mounts = [
        Mount(type="bind", source=str(tmp_path / "file"), target="/one/file", read_only=True),
        Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=1 << 20, mode=0o700)),
    ]
    ran = await rig.run("sh", "-c", "cat /one/file; stat -c %a /t; df -k /t | tail -1", host={"mounts": mounts})
    assert ran.out.startswith("x700\n") and ran.out.split()[2] == "1024"


async def test_a_tmpfs_keeps_the_mode_of_the_directory_it_covers(rig):
    ran = await rig.run("sh", "-c", "stat -c %a /tmp; grep ' /tmp ' /proc/mounts", host={"tmpfs": {"/tmp": "size=64k"}})
    mode, _, line = ran.out.partition("\n")
    assert mode == "1777"
    assert {"nosuid", "nodev", "noexec", "size=64k"} <= set(line.split()[3].split(","))


async def test_shm_size(rig):
    ran = await rig.run("sh", "-c", "df -k /dev/shm | tail -1", host={"shm_size": 1 << 20})
    assert ran.out.split()[1] == "1024"


async def test_devices(rig):
    device = DeviceMapping(path_on_host="/dev/null", path_in_container="/dev/nothing", cgroup_permissions="rwm")
    ran = await rig.run("ls", "-l", "/dev/nothing", host={"devices": [device]})
    assert ran.out.startswith("crw-rw-rw-") and "1,   3" in ran.out


async def test_sysctls(rig):
    host = {"sysctls": {"kernel.msgmax": "4096", "net.ipv4.ip_forward": "1"}}
    ran = await rig.run("cat", "/proc/sys/kernel/msgmax", "/proc/sys/net/ipv4/ip_forward", host=host)
    assert ran.out == "4096\n1\n"


async def test_ulimits(rig):
    host = {"ulimits": [Ulimit(name="nofile", soft=100, hard=200), Ulimit(name="core", soft=0, hard=0)]}
    ran = await rig.run("sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c", host=host)
    assert ran.out.split() == ["100", "200", "0"]


async def test_limits_are_in_the_cgroup(rig):
    host = {"memory": 32 << 20, "nano_cpus": 500_000_000, "pids_limit": 50, "cpu_shares": 512}
    container_id = await rig.start("sleep", "100", host=host)
    backend = cgroups.backend()
    path = f"dosirak/{container_id}"
    if isinstance(backend, v1.Hierarchies):
        expected = {
            ("memory", "memory.limit_in_bytes"): str(32 << 20),
            ("cpu", "cpu.cfs_quota_us"): "50000",
            ("cpu", "cpu.shares"): "512",
            ("pids", "pids.max"): "50",
        }
        found = {key: Path(f"{backend.mounts[key[0]]}/{path}/{key[1]}").read_text().strip() for key in expected}
    else:
        expected = {"memory.max": str(32 << 20), "cpu.max": "50000 100000", "pids.max": "50"}
        found = {key: Path(f"{backend.root}/{path}/{key}").read_text().strip() for key in expected}
    assert found == expected


async def test_a_pids_limit_bites(rig):
    ran = await rig.run("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo all", host={"pids_limit": 4})
    assert "all" not in ran.out and "can't fork" in ran.err


async def test_masked_and_readonly_paths(rig):
    ran = await rig.run("sh", "-c", "wc -c < /proc/interrupts; echo x > /proc/sys/kernel/hostname; echo $?")
    assert ran.out.split() == ["0", "1"]


async def test_a_working_directory_that_leaks_a_descriptor_is_refused(rig):
    for number in (3, 7, 8, 9, 10):
        container_id = await rig.create("pwd", working_dir=f"/proc/self/fd/{number}")
        with pytest.raises(EngineError):
            await rig.containers.start(container_id)


async def test_only_the_standard_descriptors_are_open(rig):
    ran = await rig.run("sh", "-c", "ls -1 /proc/self/fd")
    assert ran.out.split() == ["0", "1", "2", "3"]  # 3 is ls's own


async def test_nothing_of_the_engines_environment_is_inside(rig, monkeypatch):
    monkeypatch.setenv("ENGINE_SECRET", "x")
    ran = await rig.run("env")
    assert {line.split("=")[0] for line in ran.out.splitlines()} == {"PATH", "HOSTNAME", "FROM_IMAGE", "HOME"}
