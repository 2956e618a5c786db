"""The least that a container's start can be: clone(2) with its namespaces, an overlay as the root, exec, wait.

Run by `ours.floor` as a small process of its own, as the launcher is: `python -S -E -I floor.py SOURCE FOLDER`. It
makes one for each byte of standard input and then writes one.
"""

from __future__ import annotations

import os
import signal
import sys

sys.path.append(sys.argv[1])

from dosirak.engine.runtime import syscalls

_NAMESPACES = (
    *(syscalls.CLONE_NEWNS, syscalls.CLONE_NEWUTS, syscalls.CLONE_NEWIPC),
    *(syscalls.CLONE_NEWPID, syscalls.CLONE_NEWNET, syscalls.CLONE_NEWCGROUP),
)


def main(folder: str) -> None:
    """Serve until standard input ends."""
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    while os.read(0, 1):
        pid = syscalls.clone(sum(_NAMESPACES) | signal.SIGCHLD)
        if pid == 0:
            syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
            syscalls.mount("overlay", f"{folder}/merged", "overlay", 0, options)
            os.chroot(f"{folder}/merged")
            os.chdir("/")
            os.execv("/bin/true", ["true"])
        _, status = os.waitpid(pid, 0)
        os.write(1, b"." if status == 0 else b"!")


main(sys.argv[2])
