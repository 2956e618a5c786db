"""Takes things of the host away, for real, from one process: mounts hidden, calls refused, another user.

Run as a program: `python takeaway.py STEP... -- PROGRAM ARGUMENT...`; a step is a function's name and its arguments,
with colons between (the last may have more of them). What happens to mounts happens in a namespace of its own.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from dosirak.engine.runtime import syscalls
from support import rootless

_X86_64 = {"unshare": 272, "seccomp": 317, "mount": 165, "socket": 41, "pidfd_open": 434, "openat2": 437}
_NUMBERS = _X86_64 | {"open_tree": 428, "fsopen": 430, "mount_setattr": 442}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ERRNO, _ALLOW = 0x00050000, 0x7FFF0000


def apart() -> None:
    """A mount namespace of its own, from which nothing comes back."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)


def hide(path: str) -> None:
    """An empty read-only folder over this one."""
    syscalls.mount("nothing", path, "tmpfs", 1, "size=4k,mode=755")


def show(path: str, text: str) -> None:
    """A file over this one that says something else."""
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(text + "\n")
    Path(file.name).chmod(0o644)
    syscalls.mount(file.name, path, None, syscalls.MS_BIND)
    os.unlink(file.name)


def refuse(call: str, how: str) -> None:
    """A seccomp filter that gives this call that error, and lets all others pass."""
    program = struct.pack("<HBBI", _LOAD, 0, 0, 0)
    program += struct.pack("<HBBI", _EQUAL, 0, 1, _NUMBERS[call])
    program += struct.pack("<HBBI", _RETURN, 0, 0, _ERRNO | getattr(errno, how))
    program += struct.pack("<HBBI", _RETURN, 0, 0, _ALLOW)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.seccomp(program, 0)


def root_without_rights() -> None:
    """User 0 without a capability, as root is in a container without --privileged."""
    for number in range(64):
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
        except OSError:
            break
    syscalls.capset(0, 0, 0)


def network() -> None:
    """A network of its own, with settings of its own."""
    syscalls.unshare(syscalls.CLONE_NEWNET)


def copy(path: str) -> None:
    """A copy of this folder over it, in memory: what is written there goes with this process."""
    made = tempfile.mkdtemp()
    syscalls.mount("copy", made, "tmpfs", 0, "mode=755")
    shutil.copytree(path, made, symlinks=True, dirs_exist_ok=True)
    syscalls.mount(made, path, None, syscalls.MS_BIND)
    syscalls.umount2(made, syscalls.MNT_DETACH)
    os.rmdir(made)


def run(command: str) -> None:
    """What a shell makes of this line."""
    subprocess.run(["/bin/sh", "-ec", command], check=True, stdout=subprocess.DEVNULL)


def become(uid: str) -> None:
    """An ordinary user. Python may lie in root's own home: the user finds it there, and nothing else."""
    rootless.become(int(uid))


def enter() -> None:
    """Root of a user namespace with one id, as a rootless service without ranges is."""
    uid, gid = os.geteuid(), os.getegid()
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # or /proc/self is root's, until the next program
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def on_overlay(place: str) -> None:
    """This folder lies on an overlay, as a container's root does."""
    parts = [f"{place}/{name}" for name in ("lower", "upper", "work", "merged")]
    for part in parts:
        os.mkdir(part)
    options = f"lowerdir={parts[0]},upperdir={parts[1]},workdir={parts[2]}"
    syscalls.mount("overlay", parts[3], "overlay", 0, options)


if __name__ == "__main__":
    apart()
    separator = sys.argv.index("--")
    for step in sys.argv[1:separator]:
        name, _, rest = step.partition(":")
        act = globals()[name]
        act(*(rest.split(":", act.__code__.co_argcount - 1) if rest else ()))
    os.execv(sys.argv[separator + 1], sys.argv[separator + 1 :])
