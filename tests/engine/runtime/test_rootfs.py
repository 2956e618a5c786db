"""The root of a container: its mounts, /dev, /proc and /sys, and what the document mounts besides."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.errors import StartFailed
from dosirak.engine.runtime import defaults
from support.bundles import Box, bind

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


# Further mounts


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
    assert result.out == "/plain 1777 0\n/tmp 1777 0\n/moded 700 5\n/ro 1777 0\nok\n"
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
