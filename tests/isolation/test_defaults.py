"""What a container finds, by the names and numbers of Docker's defaults: each row is read from inside.

Rows with the same flags share a container and one look into it. Sources: moby, daemon/pkg/oci/defaults.go and
daemon/oci_linux.go; runc, libcontainer/rootfs_linux.go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import docker
import pytest

from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.defaults import MASKED_PATHS, READONLY_PATHS
from support.engines import Engine

from .conftest import Box, fields

DEFAULT = 0xA80425FB
ALL = int(fields(Path("/proc/self/status").read_text())["CapBnd"], 16)
NET_ADMIN, CHOWN = 1 << 12, 1 << 0
V1 = cgroups.version() != "2"


class Row(NamedTuple):
    """`script` runs in a shell of a container with `flags`; `expected` is what it writes, or a pattern of it."""

    what: str
    flags: str
    script: str
    expected: str | re.Pattern[str]
    exec_flags: str = ""


def sets(bounding: int, effective: int) -> str:
    """CapInh, CapPrm, CapEff, CapBnd, CapAmb."""
    return " ".join(f"{mask:016x}" for mask in (0, effective, effective, bounding, 0))


def caps(pid: str) -> str:
    return f"echo $(sed -n 's/^Cap.*:.//p' /proc/{pid}/status)"


def status(pid: str, name: str) -> str:
    return f"sed -n 's/^{name}:.//p' /proc/{pid}/status"


CAPABILITIES = [
    row
    for flags, bounding, effective in (
        ("", DEFAULT, DEFAULT),
        ("--user 1000", DEFAULT, 0),
        ("--user user", DEFAULT, 0),
        ("--cap-add NET_ADMIN", DEFAULT | NET_ADMIN, DEFAULT | NET_ADMIN),
        ("--user 1000 --cap-add NET_ADMIN", DEFAULT | NET_ADMIN, 0),
        ("--cap-drop CHOWN", DEFAULT & ~CHOWN, DEFAULT & ~CHOWN),
        ("--cap-drop ALL", 0, 0),
        ("--cap-drop ALL --cap-add CHOWN", CHOWN, CHOWN),
        ("--cap-add ALL", ALL, ALL),
        ("--cap-add ALL --cap-drop CHOWN", ALL & ~CHOWN, ALL & ~CHOWN),
        ("--privileged", ALL, ALL),
        ("--privileged --user 1000", ALL, 0),
    )
    for row in (
        Row("the first process's capabilities", flags, caps("1"), sets(bounding, effective)),
        Row("a further one's", flags, caps("self"), sets(bounding, effective)),
    )
] + [
    Row("a further one's as a user", "", caps("self"), sets(DEFAULT, 0), "-u 1000"),
    Row("a privileged further one's", "", caps("self"), sets(ALL, ALL), "--privileged"),
    Row("a privileged further one's as a user", "", caps("self"), sets(ALL, 0), "--privileged -u 1000"),
    Row("root's in a container of a user", "--user 1000", caps("self"), sets(DEFAULT, DEFAULT), "-u 0"),
]

WALLS = [
    row
    for flags, filtered, no_new in (
        ("", 2, 0),
        ("--cap-add ALL", 2, 0),
        ("--privileged", 0, 0),
        ("--security-opt seccomp=unconfined", 0, 0),
        ("--privileged --security-opt seccomp=builtin", 2, 0),
        ("--security-opt seccomp=builtin", 2, 0),
        ("--security-opt no-new-privileges", 2, 1),
        ("--security-opt no-new-privileges=true", 2, 1),
        ("--security-opt no-new-privileges:true", 2, 1),
        ("--security-opt no-new-privileges=false", 2, 0),
    )
    for pid in ("1", "self")
    for row in (
        Row(f"seccomp of {pid}", flags, status(pid, "Seccomp"), str(filtered)),
        Row(f"no_new_privs of {pid}", flags, status(pid, "NoNewPrivs"), str(no_new)),
    )
] + [Row("seccomp of a privileged further process", "", status("self", "Seccomp"), "2", "--privileged")]

PROCESS = [
    Row("umask", "", status("1", "Umask"), "0022"),
    Row("blocked signals", "", status("1", "SigBlk"), "0" * 16),
    Row("ignored signals", "", status("1", "SigIgn"), "0" * 16),
    Row("ignored signals of a further process", "", status("self", "SigBlk"), "0" * 16),
    Row("root's groups", "", status("1", "Groups"), "0 "),
    Row("a user's groups", "--user user", "id -G", "1000 29"),
    Row("a number's groups", "--user 4000", "id -G", "0"),
    Row("further groups", "--user 1000:1000 --group-add 50 --group-add audio", "id -G", "1000 29 50"),
    Row("dumpable: a user owns what /proc says of him", "--user 1000", "stat -c %u /proc/1/environ", "1000"),
    Row("oom score", "", "cat /proc/1/oom_score_adj /proc/self/oom_score_adj", "0\n0"),
    Row("oom score as asked", "--oom-score-adj 500", "cat /proc/1/oom_score_adj /proc/self/oom_score_adj", "500\n500"),
    Row("descriptors", "", "ls /proc/1/fd | tr '\\n' ' '", "0 1 2 "),
    Row("session", "", "cut -d' ' -f6,7 /proc/1/stat", "1 0"),
    Row("working directory", "", "pwd", "/"),
    Row(
        "working directory that the image lacks", "-w /made/here", "pwd; stat -c %a:%u /made/here", "/made/here\n755:0"
    ),
    Row(
        "environment",
        "--hostname h",
        "tr '\\0' '\\n' < /proc/1/environ | sort",
        "HOME=/root\nHOSTNAME=h\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    Row("environment of a user", "--user user", "tr '\\0' '\\n' < /proc/1/environ | grep HOME", "HOME=/home/user"),
    Row(
        "terminal", "-t", "tr '\\0' '\\n' < /proc/1/environ | grep TERM; ls -l /dev/console | cut -c1", "TERM=xterm\nc"
    ),
    Row("keys", "", "stat -c %t:%T /proc/keys", "1:3"),
]

LIMITS = [
    Row("open files", "", "ulimit -Sn", "1024"),
    Row("stack", "", "ulimit -Ss; ulimit -Hs", "8192\nunlimited"),
    Row("locked memory", "", "ulimit -Sl", "8192"),
    Row("core", "", "ulimit -Hc", "unlimited"),
    Row("as asked", "--ulimit nofile=99:199 --ulimit core=0", "ulimit -Sn; ulimit -Hn; ulimit -Hc", "99\n199\n0"),
]

FLAGS = {
    "/": "overlay rw,relatime",
    "/proc": "proc rw,nosuid,nodev,noexec,relatime",
    "/dev": "tmpfs rw,nosuid size=65536k,mode=755",
    "/dev/pts": "devpts rw,nosuid,noexec,relatime gid=5,mode=620,ptmxmode=666",
    "/dev/shm": "tmpfs rw,nosuid,nodev,noexec,relatime size=65536k",
    "/dev/mqueue": "mqueue rw,nosuid,nodev,noexec,relatime",
    "/sys": "sysfs ro,nosuid,nodev,noexec,relatime",
    "/sys/fs/cgroup": f"{'tmpfs' if V1 else 'cgroup2'} ro,nosuid,nodev,noexec,relatime",
    "/etc/hosts": " rw,relatime",
    "/etc/hostname": " rw,relatime",
    "/etc/resolv.conf": " rw,relatime",
    **dict.fromkeys(READONLY_PATHS, "proc ro,nosuid,nodev,noexec,relatime"),
}
READONLY = {
    **FLAGS,
    "/": "overlay ro,relatime",
    **{f"/etc/{name}": " ro,relatime" for name in ("hosts", "hostname", "resolv.conf")},
}
PRIVILEGED = {
    **{path: told for path, told in FLAGS.items() if path not in READONLY_PATHS},
    "/sys": "sysfs rw,nosuid,nodev,noexec,relatime",
    "/sys/fs/cgroup": f"{'tmpfs' if V1 else 'cgroup2'} rw,nosuid,nodev,noexec,relatime",
}

NODES = "full:1,7:666:0:0 null:1,3:666:0:0 random:1,8:666:0:0 tty:5,0:666:0:0 urandom:1,9:666:0:0 zero:1,5:666:0:0"
LIST = (
    "cd /dev; for n in *; do [ -c $n -o -b $n ] && [ ! -L $n ] &&"
    " echo $n:$(printf '%d,%d' 0x$(stat -c %t $n) 0x$(stat -c %T $n)):$(stat -c %a:%u:%g $n); done | tr '\\n' ' '"
)
OPEN = "mknod /n {kind} {number} && {{ head -c0 /n 2>&1 || true; }}; rm -f /n"
REFUSED = re.compile("head: /n: Operation not permitted")

DEVICES = [
    Row("nodes", "", LIST, NODES + " "),
    Row(
        "links",
        "",
        "cd /dev; for n in fd stdin stdout stderr core ptmx; do readlink $n; done",
        "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n/proc/kcore\npts/ptmx",
    ),
    Row("directories", "", "cd /dev; for n in *; do [ -d $n ] && [ ! -L $n ] && echo $n; done", "mqueue\npts\nshm"),
    Row("modes", "", "stat -c %a:%u:%g /dev /dev/shm /dev/mqueue /dev/pts", "755:0:0\n1777:0:0\n1777:0:0\n755:0:0"),
    Row("null may be used", "", "echo x > /dev/null && head -c1 /dev/zero | wc -c", "1"),
    Row("a disk may be made, not opened", "", OPEN.format(kind="b", number="8 0"), REFUSED),
    Row("the kernel's log", "", OPEN.format(kind="c", number="1 11"), REFUSED),
    Row("memory", "", OPEN.format(kind="c", number="1 1"), REFUSED),
    Row("fuse", "", OPEN.format(kind="c", number="10 229"), REFUSED),
    Row("tun", "", OPEN.format(kind="c", number="10 200"), REFUSED),
    Row("null by another name", "", OPEN.format(kind="c", number="1 3"), ""),
]
if Path("/dev/loop-control").exists():  # one that anybody may open who is let
    DEVICES += [
        Row("loop-control", "", OPEN.format(kind="c", number="10 237"), REFUSED),
        Row("a rule opens it", "--device-cgroup-rule=c_10:237_r", OPEN.format(kind="c", number="10 237"), ""),
        Row("and no other", "--device-cgroup-rule=c_10:237_r", OPEN.format(kind="c", number="10 229"), REFUSED),
        Row(
            "--device brings it",
            "--device /dev/loop-control:/dev/it:r",
            "head -c0 /dev/it; stat -c %t:%T /dev/it",
            "a:ed",
        ),
        Row(
            "but not to write",
            "--device /dev/loop-control:/dev/it:r",
            "(: > /dev/it) 2>&1 | sed 's/.*: //'",
            "Operation not permitted",
        ),
        Row("all with --privileged", "--privileged", OPEN.format(kind="c", number="10 237"), ""),
    ]

MOUNTED = "sed -n 's|^tmpfs /new \\(.*\\) 0 0$|\\1|p' /proc/mounts; stat -c %a:%u /new"

SYSCTLS = [
    Row("ping for all", "", "cat /proc/sys/net/ipv4/ping_group_range", "0\t2147483647"),
    Row("low ports for all", "", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    Row(
        "as asked",
        "--sysctl net.ipv4.ip_forward=0 --sysctl kernel.msgmax=9000 --sysctl fs.mqueue.msg_max=20",
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max",
        "0\n9000\n20",
    ),
]

FILES = [
    Row("hostname", "--hostname h --domainname d.e", "cat /etc/hostname; hostname", "h.d.e\nh"),
    Row("their modes", "", "stat -c %a:%u:%g /etc/hostname /etc/hosts /etc/resolv.conf", "644:0:0\n644:0:0\n644:0:0"),
    Row("hosts", "--add-host a:1.2.3.4 --network none", "tail -1 /etc/hosts", "1.2.3.4\ta"),
    Row("they can be written", "", "echo '#' >> /etc/hosts && tail -1 /etc/hosts", "#"),
    Row("not in a read-only one", "--read-only", "(: >> /etc/hosts) 2>&1 | sed 's/.*: //'", "Read-only file system"),
    Row("nor what else there is", "--read-only", "touch /x 2>&1 | sed 's/.*: //'", "Read-only file system"),
    Row("but memory", "--read-only", "touch /dev/shm/x /dev/mqueue/x && echo done", "done"),
    Row("tmpfs", "--tmpfs /new", MOUNTED, "tmpfs rw,nosuid,nodev,noexec,relatime\n1777:0"),
    Row("tmpfs over a directory", "--tmpfs /root", "stat -c %a:%u /root; ls -A /root", "700:0"),
    Row(
        "tmpfs with options",
        "--tmpfs /new:size=1m,mode=710,exec,uid=5",
        MOUNTED,
        "tmpfs rw,nosuid,nodev,relatime,size=1024k,mode=710,uid=5\n710:5",
    ),
    Row(
        "a mount of type tmpfs",
        "--mount type=tmpfs,dst=/new,tmpfs-size=1m,tmpfs-mode=0711",
        MOUNTED,
        "tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k,mode=711\n711:0",
    ),
    Row("shared memory's size", "--shm-size 2m", "df -k /dev/shm | tail -1 | awk '{print $2}'", "2048"),
    Row("masked files", "", "cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null | wc -c", "0"),
    Row("masked directories", "", "find /proc/acpi /proc/scsi /sys/firmware -mindepth 1 2>/dev/null | wc -l", "0"),
    Row("none masked", "--security-opt systempaths=unconfined", "grep -c ' /proc/' /proc/mounts; true", "0"),
    Row(
        "control groups to write to",
        "--security-opt writable-cgroups=true",
        "sed -n 's|.* /sys\\(/fs/cgroup\\)* [a-z0-9]* \\(..\\),.*|\\2|p' /proc/mounts",
        "ro\nrw",
    ),
]

TABLE = [*CAPABILITIES, *WALLS, *PROCESS, *LIMITS, *DEVICES, *SYSCTLS, *FILES]


def test_a_container_finds_what_docker_promises(box: Callable[..., Box]) -> None:
    looks: dict[tuple[str, str], list[Row]] = {}
    for row in TABLE:
        looks.setdefault((row.flags, row.exec_flags), []).append(row)
    boxes: dict[str, Box] = {}
    wrong = []
    for (flags, exec_flags), rows in looks.items():
        if flags not in boxes:
            boxes[flags] = box(*(word.replace("_", " ") if "=c_" in word else word for word in flags.split()))
        script = "\necho ====\n".join(f"( {row.script} )" for row in rows)
        said = boxes[flags].sh(script + "\necho end", *exec_flags.split()).removesuffix("end").split("====\n")
        assert len(said) == len(rows), said
        for row, found in zip(rows, said, strict=True):
            found = found.removesuffix("\n")
            fits = row.expected.fullmatch(found) if isinstance(row.expected, re.Pattern) else row.expected == found
            if not fits:
                wrong.append(
                    f"{row.what} ({flags or 'no flags'}{f', exec {exec_flags}' if exec_flags else ''}): {found!r}"
                )
    assert not wrong, "\n".join(["", *wrong])


def mounts(container: Box) -> dict[str, tuple[str, str, str, list[str]]]:
    """By place: type, flags, the superblock's options, propagation."""
    found = {}
    for line in container.sh("cat /proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        _, _, _, _, place, flags, *shared = left.split()
        kind, _, options = right.split(" ", 2)
        found[place] = kind, flags, options, shared
    return found


@pytest.mark.parametrize(
    ("flags", "expected"),
    [((), FLAGS), (("--read-only",), READONLY), (("--privileged",), PRIVILEGED)],
    ids=["default", "read-only", "privileged"],
)
def test_every_mount_has_its_flags_and_none_propagates(
    box: Callable[..., Box], flags: tuple[str, ...], expected: dict[str, str]
) -> None:
    found = mounts(box(*flags))
    missing = {path for path in READONLY_PATHS if not Path(path).exists()}
    for place, told in expected.items():
        if place in missing:
            continue
        kind, wanted, *options = told.split(" ")
        assert found[place][1] == wanted, (place, found[place])
        assert found[place][0] == kind or not kind, (place, found[place])
        assert set(",".join(options).split(",")) - {""} <= set(found[place][2].split(",")), (place, found[place])
    masked = [] if "--privileged" in flags else [path for path in MASKED_PATHS if Path(path).exists()]
    assert {place for place in found if not place.startswith("/sys/fs/cgroup/")} == set(expected) - missing | set(
        masked
    )
    for place in masked:
        kind, access, *_ = found[place]
        assert (kind == "devtmpfs") is not Path(place).is_dir()
        assert access.startswith("ro") is Path(place).is_dir()
    assert {place: shared for place, (*_, shared) in found.items() if shared} == {}


SYSCTL_REFUSALS: list[tuple[dict[str, object], str]] = [
    ({"sysctls": {"kernel.panic": "1"}}, 'sysctl "kernel.panic" is not in a separate kernel namespace'),
    ({"sysctls": {"vm.swappiness": "1"}}, 'sysctl "vm.swappiness" is not in a separate kernel namespace'),
    ({"sysctls": {"kernel.hostname": "x"}}, 'is not allowed as it conflicts with the OCI "hostname" field'),
    ({"sysctls": {"net.ipv4.ip_forward": "1"}, "network_mode": "host"}, "not allowed in host network namespace"),
    ({"sysctls": {"kernel.msgmax": "1"}, "ipc_mode": "host"}, "is not allowed in the hosts ipc namespace"),
    ({"sysctls": {"net/../kernel/panic": "1"}}, "invalid sysctl name"),
    ({"sysctls": {"net..x": "1"}}, "invalid sysctl name"),
]


def test_sysctls_of_the_host_are_refused(engine: Engine, busybox: str) -> None:
    for options, words in SYSCTL_REFUSALS:
        with pytest.raises(docker.errors.APIError, match=re.escape(words)):
            engine.client.containers.create(busybox, **options)
    # The control: those of its own namespaces are set.
    own = engine.docker("run", "--rm", "--sysctl", "kernel.msgmax=9000", busybox, "cat", "/proc/sys/kernel/msgmax")
    assert own.stdout == "9000\n"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A shared mount of the host's with another one below it."""
    for place in (tmp_path / "top", tmp_path / "top/below"):
        place.mkdir()
        fs = sys.fsopen("tmpfs")
        sys.fsconfig_create(fs)
        mounted = sys.fsmount(fs)
        opened = os.open(place, os.O_PATH)
        sys.move_mount(mounted, opened)
        for fd in (fs, mounted, opened):
            os.close(fd)
        (place / "file").write_text("x")
        sys.mount(None, str(place), None, sys.MS_SHARED)
    yield tmp_path / "top"
    for place in (tmp_path / "top/below", tmp_path / "top"):
        sys.umount2(str(place), sys.MNT_DETACH)


BINDS: list[tuple[str, str, str, str]] = [
    # options, flags of the mount, of the one below ("" if it is not there), propagation
    ("", "rw", "rw", ""),
    ("readonly", "ro", "ro", ""),
    ("readonly,bind-recursive=writable", "ro", "rw", ""),
    ("readonly,bind-recursive=readonly,bind-propagation=rprivate", "ro", "ro", ""),
    ("bind-recursive=disabled", "rw", "", ""),
    ("bind-propagation=private", "rw", "rw", ""),
    ("bind-propagation=rslave", "rw", "rw", "master"),
    ("bind-propagation=rshared", "rw", "rw", "shared"),
    ("bind-propagation=slave", "rw", "rw", "master"),
]


def test_a_bind_is_as_deep_and_as_closed_as_asked(box: Callable[..., Box], tree: Path) -> None:
    for options, top, below, propagation in BINDS:
        container = box("--mount", f"type=bind,src={tree},dst=/bind" + (f",{options}" if options else ""))
        found = mounts(container)
        assert found["/bind"][1].split(",")[0] == top, options
        assert ("/bind/below" in found) is bool(below), options
        if below:
            assert found["/bind/below"][1].split(",")[0] == below, options
            said = container.sh("echo y > /bind/below/file", check=False)
            assert ("Read-only file system" in said) is (below == "ro"), options
        assert [word.partition(":")[0] for word in found["/bind"][3]][:1] == ([propagation] if propagation else []), (
            options
        )
        container.engine.docker("rm", "-f", container.id)


def test_a_part_of_a_volume_is_all_that_is_seen(box: Callable[..., Box]) -> None:
    whole = box("-v", "parts:/all")
    whole.sh(
        "mkdir -p /all/one/deep /all/two; echo 1 > /all/one/deep/file; ln -s /all/two /all/link; ln -s ../.. /all/up"
    )
    part = box("--mount", "type=volume,src=parts,dst=/part,volume-subpath=one/deep,readonly")
    assert part.sh("cat /part/file; ls -A /part/..  | grep -c all; true").split() == ["1", "0"]
    assert "Read-only" in part.sh("touch /part/x", check=False)
    for bad in ("nosuch", "up", "../parts"):
        done = part.engine.docker(
            "run",
            "--rm",
            "--mount",
            f"type=volume,src=parts,dst=/part,volume-subpath={bad}",
            "busybox",
            "ls",
            "/part",
            check=False,
        )
        assert done.returncode, bad
