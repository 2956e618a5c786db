"""Mounts, volumes and nodes by which an image or a neighbour would get at the host, or at what the kernel says."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine.errors import HostLimit
from dosirak.engine.runtime import devices
from dosirak.engine.volumes.copyup import copy_up
from support.engines import Engine
from support.host import CGROUPS
from support.rootfs import changed_root

from .conftest import HOST_IMAGE, Marker, Probe, command

REFUSED = "cannot be mounted because it is inside /proc"


@pytest.mark.parametrize(
    "flags",
    [
        ("-v", "/proc"),
        ("-v", "/proc/sys"),
        ("-v", "/proc/self/attr"),
        ("--tmpfs", "/proc/1"),
        ("--mount", "type=tmpfs,target=/proc/sys/kernel"),
        ("-v", "/proc", "--net", "host"),
        ("-v", "/etc/passwd:/proc/version"),
        ("-v", "/link"),
    ],
)
def test_nothing_covers_what_the_kernel_says(engine: Engine, flags: tuple[str, ...]) -> None:
    # CVE-2019-16884: a VOLUME of the image's on /proc, or behind a link to it, is what the engine would read and write.
    archive = changed_root(links={"home": "/proc/self"})
    engine.docker("import", "-", "covering", stdin=archive, text=False)
    flags = tuple(flag.replace("/link", "/home/attr") for flag in flags)
    done = engine.docker("run", "--rm", *flags, "covering", "/bin/true", check=False)
    assert done.returncode != 0
    assert REFUSED in done.stderr
    engine.docker("rmi", "-f", "covering")


def test_what_lxcfs_covers_and_another_procfs_may_be_mounted(engine: Engine, busybox: str, tmp_path: Path) -> None:
    # The control: mounts there do work; and Docker's users have these.
    own = tmp_path / "uptime"
    own.write_text("1.00 1.00\n")
    assert (
        engine.docker("run", "--rm", "-v", f"{own}:/proc/uptime", busybox, "cat", "/proc/uptime").stdout
        == "1.00 1.00\n"
    )
    seen = engine.docker("run", "--rm", "--pid", "host", "-v", "/proc:/proc", busybox, "cat", "/proc/1/comm").stdout
    assert seen == Path("/proc/1/comm").read_text()


@contextlib.contextmanager
def exchanging(directory: Path, name: str, target: Path) -> Iterator[None]:
    """Meanwhile whatever appears under the name is at once replaced by a link to the target."""
    ended = threading.Event()
    link = directory.parent / "link"

    def work() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):
                (directory / name).lstat()
                link.symlink_to(target)
                link.rename(directory / name)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_copying_up_a_node_gives_no_mode_to_what_a_neighbour_links_there(
    marker: Marker, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # The neighbour has the volume already, and waits for the name; the image chose the mode.
    place = tmp_path_factory.mktemp("copyup")
    layer, volume = place / "layer", place / "volume"
    (layer / "data").mkdir(parents=True)
    node = layer / "data/node"
    if kind == "fifo":
        os.mkfifo(node)
    else:
        os.mknod(node, 0o20600, os.makedev(1, 3))
    node.chmod(0o4777)
    volume.mkdir()
    with exchanging(volume, "node", marker.path):
        for _ in range(200):
            with contextlib.suppress(HostLimit):  # the link was there before the node
                copy_up([str(layer)], "/data", str(volume))
            marker.check()
            (volume / "node").unlink(missing_ok=True)


def test_giving_a_device_to_a_volume_gives_no_mode_to_what_a_neighbour_links_there(
    marker: Marker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("nodes")
    (root / "v").mkdir()
    asked = {"type": "c", "path": "/v/node", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 1000, "gid": 1000}
    fd = os.open(root, os.O_RDONLY)
    host = os.open("/dev", os.O_PATH)
    with exchanging(root / "v", "node", marker.path):
        for _ in range(200):
            with contextlib.suppress(OSError):
                devices._make_asked(asked, fd, host)
            marker.check()
            (root / "v/node").unlink(missing_ok=True)
    os.close(fd)
    os.close(host)


def test_a_mode_given_by_name_goes_where_the_link_leads(
    marker: Marker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # The control of the two above: the exchange does hit in so many rounds.
    place = tmp_path_factory.mktemp("naive")
    (place / "v").mkdir()
    hit = False
    with exchanging(place / "v", "node", marker.path):
        for _ in range(3000):
            with contextlib.suppress(OSError):
                os.mkfifo(place / "v/node")
                (place / "v/node").chmod(0o600)
            hit |= marker.path.stat().st_mode & 0o777 == 0o600
            (place / "v/node").unlink(missing_ok=True)
            if hit:
                break
    marker.path.chmod(0o644)
    assert hit


def test_the_engines_own_folders_can_be_given_like_any_others_and_nothing_breaks(engine: Engine, busybox: str) -> None:
    # What Docker allows (and what portainer and its kind ask for): whoever gives these away gives the engine away.
    data, run = engine.settings.data, engine.settings.run
    flags = ("-v", f"{data}:/data", "-v", f"{run}:/run/engine", "-v", "/:/host", "-v", f"{data}/containers:/c:ro")
    name = engine.docker("run", "-d", *flags, busybox, "sleep", "600").stdout.strip()
    assert "state.db" in engine.docker("exec", name, "ls", "/data").stdout
    other = engine.docker("run", "-d", busybox, "sleep", "600").stdout.strip()
    # What is mounted for another container, later or earlier, is not carried in, nor kept busy.
    assert engine.docker("exec", name, "ls", f"/data/containers/{other}/rootfs", check=False).stdout == ""
    engine.docker("rm", "-f", other)
    engine.docker("cp", f"{name}:/etc/passwd", "-", text=False)
    engine.docker("restart", "-t", "0", name)
    engine.docker("rm", "-f", name)
    assert not (data / "containers" / other).exists()
    assert not (data / "containers" / name).exists()


def test_nobody_else_on_the_host_reaches_a_volumes_setuid_files(engine: Engine, busybox: str) -> None:
    # CVE-2021-41091: others walked in and ran them.
    engine.docker("volume", "create", "setuid")
    engine.docker("run", "--rm", "-v", "setuid:/v", busybox, "sh", "-c", "cp /bin/busybox /v/su; chmod 4755 /v/su")
    path = Path(engine.client.volumes.get("setuid").attrs["Mountpoint"]) / "su"
    assert path.stat().st_mode & 0o4000
    data = engine.settings.data
    with opened(data.parent, data.parent.parent):  # the tests' own
        assert [user for user in (1000, 65534) if reaches(path, user)] == []
        with opened(data, data / "volumes"):
            assert reaches(path, 65534)  # the control: it is the engine's folders that keep them out
    engine.docker("volume", "rm", "setuid")


@contextlib.contextmanager
def opened(*folders: Path) -> Iterator[None]:
    """Meanwhile anybody may walk through the folders."""
    modes = [folder.stat().st_mode & 0o7777 for folder in folders]
    for folder in folders:
        folder.chmod(0o711)
    try:
        yield
    finally:
        for folder, mode in zip(folders, modes, strict=True):
            folder.chmod(mode)


def reaches(path: Path, user: int) -> bool:
    """Whether somebody else can see that the file is there."""
    code = f"import os; os.stat({str(path)!r})"
    done = subprocess.run(
        ["/usr/bin/env", "python3", "-c", code], user=user, group=user, extra_groups=[], cwd="/", capture_output=True
    )
    return done.returncode == 0


HIERARCHY = """
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
os.makedirs("/tmp/cg", exist_ok=True)
found = []
for kind, options in [(b"cgroup", b"rdma"), (b"cgroup", b"memory"), (b"cgroup2", None)]:
    ctypes.set_errno(0)
    done = libc.mount(b"x", b"/tmp/cg", kind, 0, options)
    found.append(ctypes.get_errno() if done else 0)
    if not done:
        try:
            open("/tmp/cg/release_agent", "r+").close()
            found.append("writable")
        except OSError:
            pass
        libc.umount2(b"/tmp/cg", 2)
print(json.dumps(found))
"""


def test_no_hierarchy_of_groups_can_be_mounted_anew(probe: Probe) -> None:
    # CVE-2022-0492 and the older trick: mount a hierarchy, write release_agent, and the host runs it.
    assert probe(HIERARCHY) == [1, 1, 1]


@pytest.mark.skipif(not (CGROUPS / "memory").is_dir(), reason="there are no hierarchies on cgroup version 2")
def test_a_container_that_may_mount_mounts_one(outside: Probe) -> None:
    # The control: mounted it is, though with its own group as the root, where that file is not.
    assert 0 in outside(HIERARCHY, "--privileged")


SYS_WRITES = """
import json, os
found = []
for folder, folders, names in os.walk("/sys"):
    folders[:] = [name for name in folders if not os.path.islink(f"{folder}/{name}")][:40]
    for name in names[:60]:
        path = f"{folder}/{name}"
        try:
            if os.stat(path).st_mode & 0o222:
                os.close(os.open(path, os.O_WRONLY))
                found.append(path)
        except OSError:
            pass
print(json.dumps(found[:3]))
"""


def test_nothing_in_sys_can_be_written(probe: Probe) -> None:
    assert probe(SYS_WRITES) == []


def test_a_privileged_container_can_write_there(outside: Probe) -> None:
    assert outside(SYS_WRITES, "--privileged")  # the control


def test_a_health_check_of_an_image_that_covers_dev_sees_no_other_terminal(engine: Engine, busybox: str) -> None:
    # A volume on /dev/pts: the terminals of later processes must not be made on it (CVE-2025-52565).
    engine.docker("volume", "create", "pts")
    engine.docker("run", "--rm", "-v", "pts:/d", busybox, "sh", "-c", "ln -s /etc/passwd /d/0; mknod /d/ptmx c 5 2")
    for place in ("/dev/pts", "/dev"):
        name = engine.docker("run", "-d", "-v", f"pts:{place}", busybox, "sleep", "600").stdout.strip()
        done = engine.docker("exec", "-t", name, "sh", "-c", "tty; cat /dev/tty < /dev/null", check=False)
        assert "root:" not in done.stdout
        assert done.returncode != 0
    engine.remove_containers()
    engine.docker("volume", "rm", "pts")


WRITING = """
import json, mmap, os
fd = os.open(json.__file__, os.O_RDWR)
mapped = mmap.mmap(fd, 0)
mapped[0:1] = b"X"
os.link(json.__file__, "/etc/linked")
with open("/etc/linked", "a") as file:
    file.write("X")
"""
READING = "import json; print(json.dumps([open(json.__file__).read()]))"


def test_no_container_writes_to_what_it_shares_with_others(engine: Engine, outside: Probe) -> None:
    before = outside(READING)
    engine.docker("run", "--rm", HOST_IMAGE, *command(WRITING))
    assert outside(READING) == before
    # The control: it does write, to its own copy.
    assert outside(f"{WRITING}\nimport importlib\n{READING}") != before
