"""When this command's own interpreter must lie where no container can write to it, and how it does.

A container might be made to execute /proc/self/exe (CVE-2019-5736): never our interpreter, since what executes its
program is `runtime.steps`. It might open /proc/N/exe of the process that enters it: the kernel asks for the rights to
trace that one, which is not dumpable and has every capability until it is a container's, so only who holds
CAP_SYS_PTRACE over the host's user namespace may, in a pid namespace where others are already. For those, and only
for those, Python starts once more from a read-only mount of itself.
"""

from __future__ import annotations

import os
import sys

from dosirak.engine.oci.failure import Invocation
from dosirak.engine.runtime import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def wanted(config: dict[str, Any], *, entered: bool = False) -> bool:
    """Whether somebody in the container's pid namespace might trace us. Parameters: `entered`: by an exec."""
    kinds = {entry["type"]: entry.get("path") for entry in config["linux"].get("namespaces") or ()}
    if "user" in kinds:
        return False  # no capability there reaches a process of the host's
    if "pid" not in kinds or kinds["pid"]:
        return True
    sets = config["process"].get("capabilities") or {}
    return entered and any("CAP_SYS_PTRACE" in (names or ()) for names in sets.values())


def be_sealed() -> None:
    """Go on, from the beginning, in an interpreter on a read-only mount, unless this is one."""
    if os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        return
    tree = syscalls.open_tree(syscalls.AT_FDCWD, os.path.realpath(sys.executable), syscalls.OPEN_TREE_CLONE)
    syscalls.mount_setattr(tree, set_=syscalls.MOUNT_ATTR_RDONLY)
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program.py")
    os.execve(tree, [sys.executable, "-S", "-E", "-I", program, *Invocation.words], os.environ)
