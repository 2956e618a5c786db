"""Namespaces, mounts, /dev, /proc and /sys of a container, seen from inside and compared with the host."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bundles import Box, ended, until

from dosirak.engine.errors import StartFailed
from dosirak.engine.runtime import defaults, syscalls

Python = Callable[[str], list[str]]

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


@pytest.fixture(autouse=True)
def host_is_untouched() -> Iterator[None]:
    """The host's name, mount namespace and core pattern; its mounts are looked at by the box."""

    def state() -> tuple[str, ...]:
        pattern = Path("/proc/sys/kernel/core_pattern").read_text()
        return socket.gethostname(), os.readlink("/proc/self/ns/mnt"), pattern

    before = state()
    yield
    assert state() == before


# Namespaces


async def test_every_namespace_is_its_own(box: Box) -> None:
    result = await box.run(LINKS)
    fields = result.fields()
    for kind in defaults.NAMESPACES:
        assert fields[KINDS[kind]].startswith(KINDS[kind] + ":[")
        assert fields[KINDS[kind]] != host(kind), kind
    for kind in ("user", "time"):
        assert fields[KINDS[kind]] == host(kind), kind


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
    from dosirak.engine.runtime.model import Restart

    first = await box.start(["sleep", "60"])
    path = f"/proc/{first.task.pid}/ns/ipc"

    def join(spec: dict[str, Any]) -> None:
        next(entry for entry in spec["linux"]["namespaces"] if entry["type"] == "ipc")["path"] = path

    bundle = box.bundle(["sh", "-c", "readlink /proc/self/ns/ipc; sleep 0.1; exit 1"], change=join)
    task = await box.launch(bundle, restart=Restart("on-failure", 3))
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


# The root and its mounts


async def test_the_image_is_not_written_to(box: Box) -> None:
    before = sorted(os.listdir(box.base))
    started = await box.start("echo changed >/etc/passwd; rm /bin/ls; echo new >/new; cat /new")
    result = await started.finish()
    assert result.out == "new\n"
    assert sorted(os.listdir(box.base)) == before
    assert (started.bundle.path / "upper/new").read_text() == "new\n"
    assert (started.bundle.path / "upper/etc/passwd").read_text() == "changed\n"
    assert os.stat(started.bundle.path / "upper/bin/ls").st_rdev == 0


async def test_a_container_sees_only_its_own_mounts(box: Box) -> None:
    result = await box.run("cat /proc/self/mountinfo")
    points = [line.split()[4] for line in result.out.splitlines()]
    wanted = {"/", "/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"}
    assert wanted <= set(points)
    allowed = (*defaults.MASKED_PATHS, *defaults.READONLY_PATHS)
    assert all(point in wanted or point in allowed or point.startswith("/sys/fs/cgroup/") for point in points), points
    assert "shared:" not in result.out


async def test_flags_of_the_usual_mounts(box: Box) -> None:
    result = await box.run("cat /proc/self/mounts")
    flags = {line.split()[1]: (line.split()[2], set(line.split()[3].split(","))) for line in result.out.splitlines()}
    expected = {
        "/proc": ("proc", {"rw", "nosuid", "nodev", "noexec"}),
        "/dev": ("tmpfs", {"rw", "nosuid", "size=65536k", "mode=755"}),
        "/dev/pts": ("devpts", {"rw", "nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"}),
        "/sys": ("sysfs", {"ro", "nosuid", "nodev", "noexec"}),
        "/dev/mqueue": ("mqueue", {"rw", "nosuid", "nodev", "noexec"}),
        "/dev/shm": ("tmpfs", {"rw", "nosuid", "nodev", "noexec", "size=65536k"}),
    }
    for place, (kind, wanted) in expected.items():
        assert flags[place][0] == kind
        assert wanted <= flags[place][1], (place, flags[place])
    for place, (_, found) in flags.items():
        if place.startswith("/sys/fs/cgroup"):
            assert {"ro", "nosuid", "nodev", "noexec"} <= found, place


async def test_masked_paths_show_nothing(box: Box) -> None:
    script = """for p in $PATHS; do
        [ -e $p ] && echo "$p: $(cat $p 2>/dev/null | wc -c) $(ls -A $p 2>/dev/null | grep -v ^$p$ | wc -l)"
    done"""
    env = ["PATH=/bin", "PATHS=" + " ".join(defaults.MASKED_PATHS)]
    fields = (await box.run(script, env=env)).fields()
    fields.pop("")
    present = [path for path in defaults.MASKED_PATHS if Path(path).exists()]
    assert sorted(fields) == sorted(present)
    assert set(fields.values()) == {"0 0"}
    assert {"/proc/keys", "/proc/timer_list", "/sys/firmware"} & set(present), "the host has none: this proves nothing"


async def test_a_readonly_root(box: Box) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["root"]["readonly"] = True

    script = "touch /x; touch /etc/x; touch /dev/shm/x && echo shm; touch /dev/x && echo dev; mkdir /proc/x; echo end"
    result = await box.run(script, change=change)
    assert result.out == "shm\ndev\nend\n"
    assert result.err.count("Read-only file system") == 2


async def test_without_masks_they_are_readable(box: Box) -> None:
    """The control to the above, and what --privileged asks for."""

    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["maskedPaths"] = spec["linux"]["readonlyPaths"] = None

    result = await box.run("wc -c </proc/timer_list; echo other >/proc/sys/kernel/hostname; hostname", change=change)
    size, name = result.out.split()
    assert (int(size) > 0, name) == (True, "other")


async def test_dev_is_exactly_dockers(box: Box) -> None:
    script = r"cd /dev; for f in *; do stat -c '%n %F %t:%T %a %u:%g' $f; [ -L $f ] && readlink $f; done"
    result = await box.run(script)
    found: dict[str, str] = {}
    lines = iter(result.out.splitlines())
    for line in lines:
        name, rest = line.split(" ", 1)
        found[name] = next(lines) if "symbolic link" in rest else rest
    devices = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
    expected = {name: f"character special file 1:{minor} 666 0:0" for name, minor in devices.items()}
    expected["tty"] = "character special file 5:0 666 0:0"
    expected |= {"fd": "/proc/self/fd", "core": "/proc/kcore", "ptmx": "pts/ptmx"}
    expected |= {name: f"/proc/self/fd/{fd}" for fd, name in enumerate(("stdin", "stdout", "stderr"))}
    expected |= dict.fromkeys(("mqueue", "shm"), "directory 0:0 1777 0:0") | {"pts": "directory 0:0 755 0:0"}
    assert found == expected
    with_terminal = await box.run("ls /dev; stat -c '%F %a' /dev/console; ls /dev/pts", tty=True)
    names = with_terminal.out.split()
    assert set(names) >= {"console", *expected}
    assert names[-2:] == ["0", "ptmx"]


async def test_devices_work(box: Box) -> None:
    script = "head -c 5 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; echo x >/dev/null; echo x >/dev/full"
    result = await box.run(f"{script}; echo out >/dev/stdout; echo err >/dev/stderr")
    assert result.out == "5\n5\nout\n"
    assert "No space left" in result.err and result.err.endswith("err\n")
    user = await box.run("echo out >/dev/stdout; echo err >/dev/stderr; echo x >/dev/null", user="user")
    assert (user.out, user.err) == ("out\n", "err\n")
    terminal = await box.run("echo x >/dev/tty; echo y >/dev/console; echo z >/dev/stdout", user="user", tty=True)
    assert terminal.out == "x\r\ny\r\nz\r\n"


async def test_devices_as_asked(box: Box) -> None:
    devices = [
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o600, "uid": 5, "gid": 6},
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
        {"path": "/run/pipe", "type": "p", "fileMode": 0o644},
        {"path": "/dev/disk", "type": "b", "major": 7, "minor": 0},
    ]
    script = "stat -c '%n %F %t:%T %a %u:%g' /dev/net/tun /run/pipe /dev/disk"
    result = await box.run(script, change=lambda spec: spec["linux"].update(devices=devices))
    assert result.out.splitlines() == [
        "/dev/net/tun character special file a:c8 600 5:6",
        "/run/pipe fifo 0:0 644 0:0",
        "/dev/disk block special file 7:0 666 0:0",
    ]
    for bad in (
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 3},
        {"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3},
    ):
        with pytest.raises(StartFailed, match="exists and is not that device"):
            await box.run("true", change=lambda spec, bad=bad: spec["linux"].update(devices=[bad]))


async def test_shared_memory_size_and_message_queues(box: Box) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["mounts"][1:] = defaults.mounts(shm_size=1 << 20)

    script = "df -k /dev/shm | tail -1; dd if=/dev/zero of=/dev/shm/x bs=64k count=100 2>&1"
    result = await box.run(f"{script}; : >/dev/mqueue/q && ls /dev/mqueue", change=change)
    assert result.out.split()[1] == "1024"
    assert "No space left" in result.out
    assert result.out.endswith("q\n")


async def test_sysctls(box: Box) -> None:
    wanted = {"net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "9000", "net.ipv4.conf.lo.forwarding": "1"}
    names = " ".join("/proc/sys/" + name.replace(".", "/") for name in wanted)
    result = await box.run(f"cat {names}", change=lambda spec: spec["linux"].update(sysctl=wanted))
    assert result.out.split() == list(wanted.values())
    assert Path("/proc/sys/kernel/msgmax").read_text() != "9000\n"


@pytest.mark.parametrize(
    "name", ["kernel.nosuch", "../../etc.passwd", "net/ipv4/../../../../etc/passwd", "kernel.hostname\0x"]
)
async def test_an_impossible_sysctl_is_an_error(box: Box, name: str) -> None:
    with pytest.raises(StartFailed):
        await box.run("true", change=lambda spec: spec["linux"].update(sysctl={name: "1"}))


# Further mounts


def bind(source: Path | str, destination: str, *options: str, kind: str = "bind") -> dict[str, Any]:
    return {
        "destination": destination,
        "type": kind,
        "source": str(source),
        "options": list(options) or ["rbind", "rprivate"],
    }


async def test_binds_of_directories_and_files(box: Box, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("file\n")
    mounts = [
        bind(tmp_path / "dir", "/a/new/place"),
        bind(tmp_path / "file", "/etc/hosts"),
        bind(tmp_path / "dir", "/ro", "bind", "ro"),
        bind(tmp_path / "file", "/made/on/demand", "bind", "ro", "noatime"),
    ]
    script = "echo x >/a/new/place/y; cat /etc/hosts /ro/y /made/on/demand; touch /ro/z; echo z >/made/on/demand"
    result = await box.run(f"{script}; echo more >>/etc/hosts", mounts=mounts)
    assert result.out == "file\nx\nfile\n"
    assert result.err.count("Read-only") == 2
    assert (tmp_path / "dir/y").read_text() == "x\n"
    assert (tmp_path / "file").read_text() == "file\nmore\n"


async def test_flags_of_binds(box: Box, tmp_path: Path) -> None:
    mounts = [bind(tmp_path, "/x", "bind", "ro", "nosuid", "nodev", "noexec", "noatime", "rprivate")]
    result = await box.run("grep ' /x ' /proc/self/mounts", mounts=mounts)
    assert {"ro", "nosuid", "nodev", "noexec", "noatime"} <= set(result.out.split()[3].split(","))


async def test_a_read_only_bind_of_a_tree(box: Box, tmp_path: Path) -> None:
    """Docker's "ro" covers what is mounted below as well, by rro; plain ro does not."""
    (tmp_path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "dosirak-test", tmp_path / "below"], check=True)
    try:
        mounts = [
            bind(tmp_path, "/flat", "rbind", "ro"),
            bind(tmp_path, "/deep", "rbind", "rro"),
            bind(tmp_path, "/one", "bind"),
        ]
        result = await box.run(
            "touch /flat/below/x && echo flat; touch /deep/below/x || echo deep; ls /one/below", mounts=mounts
        )
        assert result.out == "flat\ndeep\n"
    finally:
        subprocess.run(["umount", tmp_path / "below"], check=True)


async def test_a_bind_of_what_was_mounted_after_the_launcher_started(box: Box, tmp_path: Path) -> None:
    """Spare processes wait in mount namespaces of their own, older than this mount."""
    await box.run("true")
    (tmp_path / "usb").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "dosirak-test", tmp_path / "usb"], check=True)
    try:
        (tmp_path / "usb/file").write_text("fresh\n")
        for _ in range(4):
            result = await box.run("cat /x/file; echo back >/x/answer", mounts=[bind(tmp_path / "usb", "/x")])
            assert result.out == "fresh\n"
        assert (tmp_path / "usb/answer").read_text() == "back\n"
    finally:
        subprocess.run(["umount", tmp_path / "usb"], check=True)


async def test_mounts_inside_stay_inside(box: Box, tmp_path: Path) -> None:
    every = ["CAP_SYS_ADMIN", *defaults.DEFAULT_CAPABILITIES]
    capabilities = dict.fromkeys(("bounding", "effective", "permitted"), every)
    started = await box.start(
        "mount -t tmpfs inside /mnt && mount -t tmpfs inside2 /vol && echo done; exec sleep 60",
        mounts=[bind(tmp_path, "/vol")],
        capabilities=capabilities,
        lower=[box.layer(mnt__x="")],
    )
    await started.wire.until(b"done")
    table = Path("/proc/self/mountinfo").read_text()
    assert "inside" not in table


async def test_a_tmpfs(box: Box) -> None:
    mounts = [
        {"destination": "/plain", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=1m"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["noexec"]},
        {"destination": "/moded", "type": "tmpfs", "source": "tmpfs", "options": ["mode=0700", "uid=5"]},
        {"destination": "/ro", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]},
    ]
    result = await box.run(
        "stat -c '%n %a %u' /plain /tmp /moded /ro; touch /plain/x /tmp/x && echo ok; touch /ro/x", mounts=mounts
    )
    assert result.out == "/plain 755 0\n/tmp 1777 0\n/moded 700 5\n/ro 755 0\nok\n"
    assert "Read-only" in result.err


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (bind("/no/such/place", "/x"), "no such file or directory"),
        (bind("/etc/passwd", "/etc"), "not a directory"),
        (bind("/etc", "/etc/passwd"), "not a directory"),
        (bind("x", "/x", "nosuchoption", kind="tmpfs"), "nosuchoption"),
        (bind("x", "/x", "rw", kind="nosuchfs"), "no such device"),
        (bind("/etc", "/dangling/x"), "symbolic links|not a directory"),
    ],
)
async def test_an_impossible_mount_is_an_error_that_names_it(box: Box, mount: dict[str, Any], words: str) -> None:
    layer = box.layer(dangling="->/no/where")
    with pytest.raises(StartFailed, match=f"mounting '{mount['destination']}'.*({words})"):
        await box.run("true", mounts=[mount], lower=[layer])


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
    import sys

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


async def test_a_running_container_shows_nowhere_in_the_hosts_mounts(box: Box, tmp_path: Path) -> None:
    def table() -> list[str]:
        return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(box.root) in line]

    started = await box.start("echo ready; exec sleep 60", mounts=[bind(tmp_path, "/x")], tty=True)
    await started.wire.until(b"ready")
    task, wire = await box.exec_start(started, "echo ready; exec sleep 60", tty=True)
    await wire.until(b"ready")
    assert table() == []
    assert os.listdir(started.bundle.path / "rootfs") == [], "mounted in the container's namespace only"
    task.kill(9)
    await wire.all()
