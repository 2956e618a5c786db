"""What only a try tells. Each try is a child that ends at once, so nothing of it stays, whatever it did."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

from dosirak.engine.networks import links, rules
from dosirak.engine.networks.firewall import Firewall
from dosirak.engine.networks.netlink import Netlink
from dosirak.engine.runtime import namespaces, overlay
from dosirak.engine.runtime import syscalls as sys

NAMESPACES = {
    "mount": sys.CLONE_NEWNS,
    "pid": sys.CLONE_NEWPID,
    "network": sys.CLONE_NEWNET,
    "ipc": sys.CLONE_NEWIPC,
    "uts": sys.CLONE_NEWUTS,
    "user": sys.CLONE_NEWUSER,
    "cgroup": sys.CLONE_NEWCGROUP,
    "time": sys.CLONE_NEWTIME,
}
# Seconds; a module that the kernel has to load takes some tenths.
_PATIENCE = 10
_ALLOW_ALL = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)  # linux/filter.h BPF_RET | BPF_K, linux/seccomp.h


def try_all(near: Path, *, ordinary: bool) -> dict[str, str]:
    """Try everything; the kernel's words for what does not work, "" for what does.

    Parameters: `near`: a directory on the file system of the engine's root; `ordinary`: not root, so that everything
    but the first needs a user namespace.
    """
    first = _become_root if ordinary else _nothing
    found = {
        f"namespace {name}": tried(_become_root) if name == "user" else tried(partial(_in_new, first, flag))
        for name, flag in NAMESPACES.items()
    }
    found |= {f"call {name}": tried(call) for name, call in _CALLS.items()}
    found["seccomp"] = tried(_filter)
    found["proc"] = tried(partial(_mount_proc, first))
    found["bridge"] = tried(partial(_make_bridge, first))
    found["nf_tables"] = tried(partial(_write_rules, first))
    with _scratch(near) as place:
        if place is None:
            return found | dict.fromkeys(("mounts", "overlay", "idmapped"), f"{near}: nothing can be written there")
        found["mounts"] = tried(partial(_move_mounts, first, place))
        found["overlay"] = tried(partial(_stack, first, place))
        found["idmapped"] = tried(partial(_map_ids, place))
    return found


def tried(act: Callable[[], object]) -> str:
    """Do this in a child: "" when it worked, else why not."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(_PATIENCE)
        why = ""
        try:
            act()
        except OSError as error:
            why = error.strerror or str(error)
        except BaseException as error:
            why = str(error) or repr(error)
        finally:
            with contextlib.suppress(OSError):
                os.write(writing, why.encode()[:500])
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as said:
        why = said.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    return why if not status else f"killed by signal {os.WTERMSIG(status)}"


@contextlib.contextmanager
def _scratch(near: Path) -> Iterator[Path | None]:
    """A folder on that file system; None where none can be made."""
    while not os.access(near, os.W_OK) and near != near.parent and near.parent.stat().st_dev == near.stat().st_dev:
        near = near.parent
    try:
        place = Path(tempfile.mkdtemp(prefix=".dosirak-doctor-", dir=near))
    except OSError:
        yield None
        return
    try:
        yield place
    finally:
        # Overlayfs leaves a folder that only its owner may enter, by its mode: nobody.
        for folder in place.rglob("work"):
            folder.chmod(0o700)
        shutil.rmtree(place, ignore_errors=True)


def _nothing() -> None:
    """Root is what it is."""


def _become_root() -> None:
    """Of a user namespace with one id."""
    uid, gid = os.geteuid(), os.getegid()
    sys.unshare(sys.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _in_new(first: Callable[[], None], flags: int) -> None:
    first()
    sys.unshare(flags)
    if flags & sys.CLONE_NEWNS:
        sys.mount(None, "/", None, sys.MS_REC | sys.MS_PRIVATE)


def _filter() -> None:
    sys.prctl(sys.PR_SET_NO_NEW_PRIVS, 1)
    sys.seccomp(_ALLOW_ALL, 0)


def _mount_proc(first: Callable[[], None]) -> None:
    """A /proc of a new pid namespace: a surrounding container that masks parts of its own forbids it."""
    _in_new(first, sys.CLONE_NEWNS | sys.CLONE_NEWPID)
    if why := tried(lambda: sys.mount("proc", "/proc", "proc", 0)):
        raise ValueError(why)


def _make_bridge(first: Callable[[], None]) -> None:
    _in_new(first, sys.CLONE_NEWNET)
    with Netlink() as netlink, open("/proc/self/ns/net", "rb") as namespace:
        links.create_bridge(netlink, "doctor0", "02:00:00:00:00:01", 1500)
        links.create_veth(netlink, "doctor1", 1500, "doctor2", "02:00:00:00:00:02", namespace.fileno())


def _write_rules(first: Callable[[], None]) -> None:
    """The engine's own rules, for a bridge that need not be there."""
    _in_new(first, sys.CLONE_NEWNET)
    Firewall("dosirak_doctor").install([rules.Bridge("doctor0", IPv4Network("10.0.0.0/24"))])


def _move_mounts(first: Callable[[], None], place: Path) -> None:
    _in_new(first, sys.CLONE_NEWNS)
    (place / "mount").mkdir()
    tree = sys.open_tree(sys.AT_FDCWD, os.fspath(place), sys.OPEN_TREE_CLONE)
    sys.mount_setattr(tree, set_=sys.MOUNT_ATTR_RDONLY | sys.MOUNT_ATTR_NOSYMFOLLOW)
    sys.move_mount(tree, os.open(place / "mount", os.O_PATH | os.O_DIRECTORY))


def _stack(first: Callable[[], None], place: Path) -> None:
    """An overlay in which a file of the lower directory is removed and another one made."""
    _in_new(first, sys.CLONE_NEWNS)
    lower, upper, work = (place / name for name in ("lower", "upper", "work"))
    for folder in (lower, upper, work):
        folder.mkdir()
    (lower / "old").write_text("old")
    merged = overlay.open_overlay([os.fspath(lower)], os.fspath(upper), os.fspath(work))
    os.unlink("old", dir_fd=merged)
    os.close(os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=merged))


def _map_ids(place: Path) -> None:
    _in_new(_nothing, sys.CLONE_NEWNS)
    rows = [{"containerID": 0, "hostID": 100_000, "size": 1000}]
    user = namespaces.make_user({"uidMappings": rows, "gidMappings": rows})
    sys.idmap(sys.open_tree(sys.AT_FDCWD, os.fspath(place), sys.OPEN_TREE_CLONE), user)


def _ask_pidfd() -> None:
    signal.pidfd_send_signal(os.pidfd_open(os.getpid()), 0)


# Whether the kernel has them, and whoever runs this may use them.
_CALLS: dict[str, Callable[[], object]] = {
    "openat2": lambda: sys.openat2(sys.AT_FDCWD, "/", os.O_PATH | os.O_DIRECTORY, 0, sys.RESOLVE_IN_ROOT),
    "close_range": lambda: sys.close_range(1000, 1001, sys.CLOSE_RANGE_CLOEXEC),
    "pidfd_open": _ask_pidfd,
}
