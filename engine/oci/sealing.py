"""When this command's own interpreter must lie where no container can write to it, and how it does.

A container might be made to execute /proc/self/exe (CVE-2019-5736): never our interpreter, since what executes its
program is `runtime.steps`. It might open /proc/N/exe of the process that enters it: the kernel asks for the rights to
trace that one, which is not dumpable and has every capability until it is a container's, so only who holds
CAP_SYS_PTRACE over the host's user namespace may, in a pid namespace where others are already. For those, and only
for those, Python starts once more from a read-only mount of itself. An exec may give that right to a container that
has not got it: its state then has a file that says so to the execs after it.
"""

from __future__ import annotations

import fcntl
import os
import sys

from dosirak.engine.oci import state
from dosirak.engine.oci.failure import Invocation
from dosirak.engine.runtime import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def wanted(config: dict[str, Any]) -> bool:
    """Whether somebody in the container's pid namespace might trace who makes it."""
    kinds = _namespaces(config)
    # No capability in a user namespace reaches a process of the host's.
    return "user" not in kinds and ("pid" not in kinds or bool(kinds["pid"]))


def enter(directory: str, config: dict[str, Any], process: dict[str, Any]) -> int:
    """Be sealed where somebody who is in there might trace what enters: by the rights that its first process was given,
    this one is, or one before it. Parameters: `directory`: of its state.

    Returns a descriptor to be closed once it has entered: until then its lock (flock(2)) makes an exec wait that is the
    first to give that right.
    """
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    mark = f"{directory}/{state.TRACING}"
    if wanted(config) or _traces(config["process"]):
        be_sealed()
    elif "user" not in _namespaces(config) and _traces(process):
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        be_sealed()
        fcntl.flock(lock, fcntl.LOCK_UN)
    else:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if os.path.exists(mark):
            be_sealed()
    return lock


def _namespaces(config: dict[str, Any]) -> dict[str, str | None]:
    return {entry["type"]: entry.get("path") for entry in config["linux"].get("namespaces") or ()}


def _traces(process: dict[str, Any]) -> bool:
    return any("CAP_SYS_PTRACE" in (names or ()) for names in (process.get("capabilities") or {}).values())


def be_sealed() -> None:
    """Go on, from the beginning, in an interpreter on a read-only mount, unless this is one."""
    if os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        return
    tree = syscalls.open_tree(syscalls.AT_FDCWD, os.path.realpath(sys.executable), syscalls.OPEN_TREE_CLONE)
    syscalls.mount_setattr(tree, set_=syscalls.MOUNT_ATTR_RDONLY)
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program.py")
    os.execve(tree, [sys.executable, "-S", "-E", "-I", program, *Invocation.words], os.environ)
