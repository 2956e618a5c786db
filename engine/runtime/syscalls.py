"""Thin wrappers of the system calls that glibc or Python lack: named as the call, each raises OSError.

Constants carry the kernel's names (linux/mount.h, linux/openat2.h, linux/sched.h, linux/prctl.h). Nothing else in
the engine touches ctypes (`foreign`) for system calls.
"""

from __future__ import annotations

import errno
import os
from _struct import pack

from dosirak.engine.runtime import foreign
from dosirak.engine.runtime.foreign import (
    c_char,
    c_char_p,
    c_int,
    c_long,
    c_size_t,
    c_uint,
    c_uint64,
    c_ulong,
    c_ushort,
    c_void_p,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# System calls without a glibc 2.31 wrapper. Numbers from 424 on are the same on every architecture.
_NUMBERS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "capget": 125, "capset": 126, "keyctl": 250, "seccomp": 317, "bpf": 321},
    "aarch64": {"clone": 220, "pivot_root": 41, "capget": 90, "capset": 91, "keyctl": 219, "seccomp": 277, "bpf": 280},
}[os.uname().machine]
_NUMBERS["rt_sigaction"] = {"x86_64": 13, "aarch64": 134}[os.uname().machine]
_NUMBERS["execveat"] = {"x86_64": 322, "aarch64": 281}[os.uname().machine]
_NUMBERS["setfsuid"] = {"x86_64": 122, "aarch64": 151}[os.uname().machine]
_NUMBERS["setfsgid"] = {"x86_64": 123, "aarch64": 152}[os.uname().machine]
_NUMBERS |= {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
    "quotactl_fd": 443,
}

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

CLONE_FS = 0x200
CLONE_FILES = 0x400
CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_BIND = 4096
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_FD, FSCONFIG_CMD_CREATE = 0, 1, 5, 6

RESOLVE_NO_XDEV = 0x1
RESOLVE_NO_MAGICLINKS = 0x2
RESOLVE_NO_SYMLINKS = 0x4
RESOLVE_BENEATH = 0x8
RESOLVE_IN_ROOT = 0x10

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

CLOSE_RANGE_CLOEXEC = 4
SECCOMP_SET_MODE_FILTER = 1
_BPF_PROG_LOAD = 5
KEYCTL_JOIN_SESSION_KEYRING = 1
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

_libc = foreign.Library()
# Keeps the GIL during the call: after one of these, another process may go on in this memory (`vfork`).
_held = foreign.Library(held=True)


def _function(name: str, *argtypes: Any) -> Callable[..., int]:
    """A glibc function, typed once; -1 becomes OSError naming the call and the first path argument."""
    function = _libc[name]
    function.argtypes = argtypes
    function.restype = c_int

    def call(*arguments: Any) -> int:
        result: int = function(*arguments)
        if result < 0:
            raise _oserror(name, arguments)
        return result

    return call


def _syscall(name: str, *argtypes: Any, library: Any = _libc) -> Callable[..., int]:
    """A raw system call, typed once."""
    function = library["syscall"]
    function.argtypes = (c_long, *argtypes)
    function.restype = c_long
    number = _NUMBERS[name]

    def call(*arguments: Any) -> int:
        result: int = function(number, *arguments)
        if result < 0:
            raise _oserror(name, arguments)
        return result

    return call


def _oserror(name: str, arguments: Sequence[Any]) -> OSError:
    number = foreign.get_errno()
    path = next((argument for argument in arguments if isinstance(argument, bytes) and argument), None)
    text = f"{name}: {os.strerror(number)}"
    return OSError(number, text, os.fsdecode(path)) if path is not None else OSError(number, text)


def _path(path: str | bytes | None) -> bytes | None:
    if path is None:
        return None
    raw = os.fsencode(path)
    if b"\0" in raw:  # C would see the part before it
        raise OSError(errno.EINVAL, "embedded NUL", path)
    return raw


class _OpenHow(foreign.Structure):
    _fields_ = (("flags", c_uint64), ("mode", c_uint64), ("resolve", c_uint64))


class _MountAttr(foreign.Structure):
    _fields_ = (("attr_set", c_uint64), ("attr_clr", c_uint64), ("propagation", c_uint64), ("userns_fd", c_uint64))


class _SockFprog(foreign.Structure):
    _fields_ = (("len", c_ushort), ("filter", c_char_p))


class _CapHeader(foreign.Structure):
    _fields_ = (("version", c_uint), ("pid", c_int))


class _CapData(foreign.Structure):
    _fields_ = (("effective", c_uint), ("permitted", c_uint), ("inheritable", c_uint))


_mount = _function("mount", c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_umount2 = _function("umount2", c_char_p, c_int)
unshare = _function("unshare", c_int)
setns = _function("setns", c_int, c_int)
_prctl = _function("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_sethostname = _function("sethostname", c_char_p, c_size_t)
_setdomainname = _function("setdomainname", c_char_p, c_size_t)
_fstatfs = _function("fstatfs", c_int, c_void_p)
_renameat2 = _function("renameat2", c_int, c_char_p, c_int, c_char_p, c_uint)
_openat2 = _syscall("openat2", c_int, c_char_p, c_void_p, c_size_t)
_open_tree = _syscall("open_tree", c_int, c_char_p, c_uint)
_move_mount = _syscall("move_mount", c_int, c_char_p, c_int, c_char_p, c_uint)
_fsopen = _syscall("fsopen", c_char_p, c_uint)
_fsconfig = _syscall("fsconfig", c_int, c_uint, c_char_p, c_char_p, c_int)
_fsmount = _syscall("fsmount", c_int, c_uint, c_uint)
_mount_setattr = _syscall("mount_setattr", c_int, c_char_p, c_uint, c_void_p, c_size_t)
_pivot_root = _syscall("pivot_root", c_char_p, c_char_p)
_close_range = _syscall("close_range", c_uint, c_uint, c_uint)
_capget = _syscall("capget", c_void_p, c_void_p)
_capset = _syscall("capset", c_void_p, c_void_p)
_rt_sigaction = _syscall("rt_sigaction", c_int, c_char_p, c_void_p, c_size_t)
_keyctl = _syscall("keyctl", c_int, c_char_p)
_seccomp = _syscall("seccomp", c_uint, c_uint, c_void_p)
_bpf = _syscall("bpf", c_int, c_char_p, c_uint)
_quotactl_fd = _syscall("quotactl_fd", c_uint, c_uint, c_uint, c_void_p)
# Of the calling thread alone, unlike setresuid(2) by glibc.
_setfsuid = _syscall("setfsuid", c_uint)
_setfsgid = _syscall("setfsgid", c_uint)
_clone = _syscall("clone", c_ulong, c_void_p, c_void_p, c_void_p, c_void_p, library=_held)


def mount(source: str | None, target: str | bytes, fstype: str | None, flags: int, data: str | None = None) -> None:
    """mount(2), for propagation changes; filesystems are mounted by fsopen and friends."""
    _mount(_path(source), _path(target), _path(fstype), flags, _path(data))


def umount2(target: str | bytes, flags: int = 0) -> None:
    """umount2(2)."""
    _umount2(_path(target), flags)


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """prctl(2)."""
    return _prctl(option, a, b, c, d)


def sethostname(name: bytes) -> None:
    """sethostname(2); Python's own goes through the locale."""
    _sethostname(name, len(name))


def setdomainname(name: bytes) -> None:
    """setdomainname(2): the NIS domain name, which Docker's --domainname sets too."""
    _setdomainname(name, len(name))


def fs_type(fd: int) -> int:
    """The magic number of the filesystem `fd` lies on: fstatfs(2)'s f_type (linux/magic.h)."""
    buffer = (c_long * 32)()
    _fstatfs(fd, foreign.byref(buffer))
    return buffer[0]


def renameat2(old_fd: int, old: str | bytes, new_fd: int, new: str | bytes, flags: int) -> None:
    """renameat2(2): RENAME_NOREPLACE=1, RENAME_EXCHANGE=2."""
    _renameat2(old_fd, _path(old), new_fd, _path(new), flags)


def openat2(dir_fd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), kernel 5.6; O_CLOEXEC is always added."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return _openat2(dir_fd, _path(path), foreign.byref(how), foreign.sizeof(how))


def open_tree(dir_fd: int, path: str | bytes, flags: int) -> int:
    """open_tree(2), kernel 5.2: with OPEN_TREE_CLONE a detached bind mount."""
    return _open_tree(dir_fd, _path(path), flags | OPEN_TREE_CLOEXEC)


def move_mount(from_fd: int, to_fd: int, to_path: str | bytes = b"") -> None:
    """move_mount(2), kernel 5.2: attach the mount `from_fd` on the object `to_fd`, or on `to_path` below it."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if to_path else MOVE_MOUNT_T_EMPTY_PATH)
    _move_mount(from_fd, b"", to_fd, _path(to_path), flags)


def fsopen(fstype: str) -> int:
    """fsopen(2), kernel 5.2."""
    return _fsopen(_path(fstype), FSOPEN_CLOEXEC)


def fsconfig_string(fs_fd: int, key: str, value: str | bytes) -> None:
    """fsconfig(2) FSCONFIG_SET_STRING."""
    _fsconfig(fs_fd, FSCONFIG_SET_STRING, _path(key), _path(value), 0)


def fsconfig_flag(fs_fd: int, key: str) -> None:
    """fsconfig(2) FSCONFIG_SET_FLAG."""
    _fsconfig(fs_fd, FSCONFIG_SET_FLAG, _path(key), None, 0)


def fsconfig_create(fs_fd: int) -> None:
    """fsconfig(2) FSCONFIG_CMD_CREATE: make the superblock."""
    _fsconfig(fs_fd, FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fs_fd: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount of the superblock, with MOUNT_ATTR_* attributes."""
    return _fsmount(fs_fd, FSMOUNT_CLOEXEC, attributes)


def fs_messages(fs_fd: int) -> str:
    """What the kernel has to say about the last failed fsconfig/fsmount on this context (fsopen(2))."""
    lines = []
    try:
        while message := os.read(fs_fd, 4096):
            lines.append(message.decode("utf-8", "replace").strip()[2:])
    except OSError:
        pass
    return "; ".join(lines)


def mount_setattr(
    fd: int, path: str | bytes = b"", set_: int = 0, clear: int = 0, propagation: int = 0, *, recursive: bool = False
) -> None:
    """mount_setattr(2), kernel 5.12."""
    attr = _MountAttr(set_, clear, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _mount_setattr(fd, _path(path), flags, foreign.byref(attr), foreign.sizeof(attr))


def idmap(fd: int, user_namespace: int, *, recursive: bool = False) -> None:
    """mount_setattr(2) MOUNT_ATTR_IDMAP, kernel 5.12: who owns what on a detached mount is read by that namespace's
    maps, the id on disk being the one inside."""
    attr = _MountAttr(MOUNT_ATTR_IDMAP, 0, 0, user_namespace)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _mount_setattr(fd, b"", flags, foreign.byref(attr), foreign.sizeof(attr))


def setfsids(uid: int, gid: int) -> None:
    """setfsuid(2) and setfsgid(2) of this thread, which keeps its effective capabilities."""
    effective, permitted, inheritable = capget()
    _setfsgid(gid)
    _setfsuid(uid)
    capset(effective, permitted, inheritable)  # the kernel drops those of the file system with user 0


def pivot_root(new_root: str | bytes, put_old: str | bytes) -> None:
    """pivot_root(2); pivot_root(".", ".") stacks the old root on the new one (man page, "pivot_root(".", ".")")."""
    _pivot_root(_path(new_root), _path(put_old))


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """close_range(2), kernel 5.9 (CLOSE_RANGE_CLOEXEC 5.11)."""
    _close_range(first, last, flags)


def default_signal(number: int) -> None:
    """rt_sigaction(2) with SIG_DFL, also for the two signals that glibc keeps for itself and refuses to set."""
    _rt_sigaction(number, bytes(32), None, 8)


def clone(flags: int) -> int:
    """clone(2) in the manner of fork: 0 in the child, its pid in the parent. Single-threaded callers only."""
    return _clone(flags, None, None, None, None)


def capget() -> tuple[int, int, int]:
    """The calling thread's (effective, permitted, inheritable) capability masks."""
    header, data = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0), (_CapData * 2)()
    _capget(foreign.byref(header), foreign.byref(data))
    low, high = data
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) with 64-bit masks."""
    header, data = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0), (_CapData * 2)()
    for index, shift in enumerate((0, 32)):
        data[index].effective = effective >> shift & 0xFFFFFFFF
        data[index].permitted = permitted >> shift & 0xFFFFFFFF
        data[index].inheritable = inheritable >> shift & 0xFFFFFFFF
    _capset(foreign.byref(header), foreign.byref(data))


def join_session_keyring(name: str | None = None) -> None:
    """keyctl(KEYCTL_JOIN_SESSION_KEYRING): a session keyring of the caller's own. A kernel without keys has none."""
    try:
        _keyctl(KEYCTL_JOIN_SESSION_KEYRING, _path(name))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise


def seccomp(program: bytes, flags: int) -> int:
    """seccomp(2) SECCOMP_SET_MODE_FILTER: `program`: struct sock_filter by struct sock_filter.

    Returns 0, or a descriptor with SECCOMP_FILTER_FLAG_NEW_LISTENER.
    """
    described = _SockFprog(len(program) // 8, program)
    return _seccomp(SECCOMP_SET_MODE_FILTER, flags, foreign.byref(described))


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2): `attributes` is the beginning of union bpf_attr (linux/bpf.h) for this command."""
    return _bpf(command, attributes, len(attributes))


def _buffer(data: bytes) -> Any:
    return (c_char * len(data)).from_buffer_copy(data)


def bpf_prog_load(kind: int, program: bytes) -> int:
    """bpf(2) BPF_PROG_LOAD: a descriptor of the program, eight bytes an instruction; close-on-exec."""
    code, license_ = _buffer(program), _buffer(b"Apache-2.0\0")
    where = (foreign.addressof(code), foreign.addressof(license_))
    return bpf(_BPF_PROG_LOAD, pack("<IIQQ", kind, len(program) // 8, *where))


def quotactl_fd(fd: int, command: int, project: int, data: bytearray) -> None:
    """quotactl_fd(2) (kernel 5.14): `data` is read or filled."""
    _quotactl_fd(fd, command, project, foreign.addressof(c_char.from_buffer(data)))


def _strings(values: Sequence[bytes]) -> Any:
    return (c_char_p * (len(values) + 1))(*values, None)


_execve = _held["execve"]
_execve.argtypes = (c_char_p, c_void_p, c_void_p)
_execve.restype = c_int


_execveat = _syscall("execveat", c_int, c_char_p, c_void_p, c_void_p, c_int, library=_held)


def execveat(fd: int, argv: Sequence[bytes], env: Sequence[bytes]) -> None:
    """execveat(2) of an open file (AT_EMPTY_PATH), as `execve`."""
    _execveat(fd, b"", _strings(argv), _strings(env), AT_EMPTY_PATH)


def execve(path: bytes, argv: Sequence[bytes], env: Sequence[bytes]) -> None:
    """execve(2) with the environment as a list, in order and as it stands; returns only by OSError."""
    _execve(path, _strings(argv), _strings(env))
    raise _oserror("execve", (path,))
