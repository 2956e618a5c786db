"""/dev of a container: the nodes and links every container has, further ones on request, and the terminal.

runtime-spec config-linux, "Default Devices" and "Default Filesystems".
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from _struct import pack

from dosirak.engine.runtime import inroot
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NODES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
)
# Where other file systems are mounted.
_PLACES = ("pts", "shm", "mqueue")
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}

_DEVPTS_SUPER_MAGIC = 0x1CD1  # linux/magic.h
# asm-generic/ioctls.h; the same on x86_64 and aarch64
_TIOCSCTTY, _TIOCSWINSZ = 0x540E, 0x5414
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441


def fill(dev: int, host_dev: int) -> None:
    """Make what every /dev has, on a fresh tmpfs `dev`; what is there already is left.

    Parameters: `host_dev`: the host's /dev, for hosts where mknod is refused. Raises OSError.
    """
    for name, major, minor in _NODES:
        _make_node(dev, name, stat.S_IFCHR | 0o666, os.makedev(major, minor), host_dev)
    for name, target in _LINKS:
        try:
            os.symlink(target, name, dir_fd=dev)
        except FileExistsError:
            continue
    for name in _PLACES:
        try:
            os.mkdir(name, 0o755, dir_fd=dev)
        except FileExistsError:
            continue


def make_nodes(spec: dict[str, Any], root_fd: int, *, filled: bool) -> None:
    """Make /dev's nodes and links, and those of linux.devices. `filled`: `fill` has done its part. Raises OSError."""
    devices = spec.get("linux", {}).get("devices") or ()
    if filled and not devices:
        return
    host_dev = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if not filled:
        dev = inroot.open_in_root(root_fd, "/dev", os.O_PATH | os.O_DIRECTORY, resolve=sys.RESOLVE_NO_SYMLINKS)
        try:
            fill(dev, host_dev)
        finally:
            os.close(dev)
    for device in devices:
        _make_asked(device, root_fd, host_dev)


def _make_node(parent: int, name: str | bytes, mode: int, device: int, host_dev: int) -> bool:
    """Returns whether it is one of the container's own, no mount of the host's."""
    # mknod's mode goes through the umask; chmod afterwards would follow a symlink that a neighbour puts in its place.
    before = os.umask(0)
    try:
        os.mknod(name, mode, device, dir_fd=parent)
    except FileExistsError:
        return os.stat(name, dir_fd=parent, follow_symlinks=False).st_dev == os.fstat(parent).st_dev
    except PermissionError:
        # In a user namespace nobody may mknod: the host's node is bound instead.
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=parent))
        tree = sys.open_tree(host_dev, _host_name(mode, device), sys.OPEN_TREE_CLONE)
        sys.mount_setattr(tree, set_=sys.MOUNT_ATTR_NOSUID | sys.MOUNT_ATTR_NOEXEC)
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        sys.move_mount(tree, place)
        os.close(tree)
        os.close(place)
        return False
    finally:
        os.umask(before)
    return True


def _host_name(mode: int, device: int) -> str:
    """A device's name below the host's /dev. Raises OSError."""
    kind = "block" if stat.S_ISBLK(mode) else "char"
    with open(f"/sys/dev/{kind}/{os.major(device)}:{os.minor(device)}/uevent", "rb", buffering=0) as file:
        lines = file.read().decode().splitlines()
    return next(line.removeprefix("DEVNAME=") for line in lines if line.startswith("DEVNAME="))


def _make_asked(device: dict[str, Any], root_fd: int, host_dev: int) -> None:
    """One of linux.devices; an existing node of another kind is an error, an equal one is fine."""
    mode = _KINDS[device["type"]] | device.get("fileMode", 0o666)
    number = os.makedev(device.get("major", 0), device.get("minor", 0))
    parent, name = inroot.open_parent(root_fd, device["path"], create=True)
    try:
        own = _make_node(parent, name, mode, number, host_dev)
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        # A FIFO has no number, whatever the document says.
        other = found.st_rdev != (0 if stat.S_ISFIFO(mode) else number)
        if stat.S_IFMT(found.st_mode) != stat.S_IFMT(mode) or other:
            raise OSError(errno.EEXIST, "exists and is not that device", device["path"])
        if own:
            os.chown(name, device.get("uid", 0), device.get("gid", 0), dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)


def open_pty(root_fd: int) -> tuple[int, int]:
    """A pty pair on the container's own devpts: (master, slave).

    The slave comes by TIOCGPTPEER, never by name: a name can be exchanged (CVE-2025-52565). Raises OSError.
    """
    master = inroot.open_in_root(root_fd, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY, resolve=sys.RESOLVE_NO_SYMLINKS)
    if sys.fs_type(master) != _DEVPTS_SUPER_MAGIC:
        raise OSError(errno.ENODEV, "is not a devpts mount", "/dev/pts")
    fcntl.ioctl(master, _TIOCSPTLCK, pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave


def bind_console(root_fd: int, slave: int) -> None:
    """/dev/console is the container's own terminal. Raises OSError, also for a symlink in its place."""
    os.close(inroot.make_file(root_fd, "/dev/console", 0o600))
    place = inroot.open_in_root(root_fd, "/dev/console", os.O_PATH, resolve=sys.RESOLVE_NO_SYMLINKS)
    tree = sys.open_tree(slave, b"", sys.OPEN_TREE_CLONE | sys.AT_EMPTY_PATH)
    sys.move_mount(tree, place)
    os.close(tree)
    os.close(place)


def take_terminal(slave: int, rows: int, columns: int) -> None:
    """Make the slave the controlling terminal of this (new) session, with a size in characters."""
    fcntl.ioctl(slave, _TIOCSCTTY, 0)
    if rows and columns:
        set_size(slave, rows, columns)


def set_size(terminal: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ (ioctl_tty(2)); the kernel sends SIGWINCH to the foreground process group. It has 16 bits for each."""
    rows, columns = (min(max(number, 0), 0xFFFF) for number in (rows, columns))
    fcntl.ioctl(terminal, _TIOCSWINSZ, pack("HHHH", rows, columns, 0, 0))
