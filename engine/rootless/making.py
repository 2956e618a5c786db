"""Making the namespaces and the keeper: two processes, of which the one outside writes the maps of the one inside.

The keeper is nobody's child and a session of its own. It lives with the service's log as its output, its listening
socket, and nothing else of the service: not its locks above all.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dosirak.engine.errors import Unavailable
from dosirak.engine.rootless import outward
from dosirak.engine.runtime import syscalls

if TYPE_CHECKING:
    from typing import NoReturn

    from dosirak.engine.rootless.ids import Ids
    from dosirak.engine.rootless.outward import Outward

KEEPER = Path(__file__).with_name("keeper.py")
LISTENER_FD = 3
"""The descriptor under which the keeper finds its listening socket."""


class NoNamespaces(Unavailable):
    """This host gives an ordinary user no user namespace; the message says why and what would."""


def make(listener: socket.socket, netns: Path, ids: Ids, survivor: int = 0) -> None:
    """Start a keeper that serves `listener`.

    Parameters: `netns`: a file of the run directory; inside, the network namespace is mounted on it. `survivor`: a
    process whose namespaces are taken instead of new ones. Raises NoNamespaces, OSError.
    """
    said, say = os.pipe()
    heard, hear = os.pipe()
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            os.close(said)
            os.close(hear)
            _be_inside(listener, netns, ids, survivor, say, heard)
        os._exit(0)
    os.close(say)
    os.close(heard)
    os.waitpid(middle, 0)
    try:
        answer = os.read(said, 4096)
        if answer.startswith(b"+"):
            if not survivor:
                _write_maps(int(answer[1:]), ids)
            os.write(hear, b"+")
            answer = os.read(said, 4096)  # ends with its execve
        if answer:
            raise NoNamespaces(answer.decode(errors="replace"))
    finally:
        os.close(said)
        os.close(hear)


def _write_maps(pid: int, ids: Ids) -> None:
    """Raises NoNamespaces."""
    if ids.single:
        try:
            # Without it the kernel takes no map of an ordinary user's group (user_namespaces(7)).
            Path(f"/proc/{pid}/setgroups").write_text("deny")
            Path(f"/proc/{pid}/uid_map").write_text(f"0 {ids.uid} 1")
            Path(f"/proc/{pid}/gid_map").write_text(f"0 {ids.gid} 1")
        except OSError as error:
            raise NoNamespaces(f"the ids of a user namespace can't be set ({error.strerror})") from error
        return
    maps = {"newuidmap": ids.uid_map, "newgidmap": ids.gid_map}
    said, say = os.pipe()
    # Setuid programs: nothing else can give a user these ids. At the same time, for each takes milliseconds.
    pids = [
        os.posix_spawnp(
            program,
            [program, str(pid), *(str(number) for row in rows for number in row)],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, say, 2)],
        )
        for program, rows in maps.items()
    ]
    os.close(say)
    with open(said) as file:
        words = file.read().strip()
    ends = [os.waitpid(one, 0)[1] for one in pids]
    if any(ends):
        raise NoNamespaces(f"newuidmap, newgidmap: {words or 'failed'}")


def tools() -> bool:
    """Whether the setuid programs are here that give a user a range of ids."""
    return bool(shutil.which("newuidmap") and shutil.which("newgidmap"))


def _be_inside(listener: socket.socket, netns: Path, ids: Ids, survivor: int, say: int, heard: int) -> NoReturn:
    """The process that becomes the keeper."""
    try:
        os.setsid()
        if survivor:
            syscalls.setns(os.pidfd_open(survivor), syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        else:
            syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        os.write(say, b"+%d" % os.getpid())
        if os.read(heard, 1):
            os.setresgid(0, 0, 0)
            if not ids.single:
                os.setgroups([])
            os.setresuid(0, 0, 0)
            way = outward.find()
            go, gone = os.pipe()
            # Before this process leaves the host's network, where that program has to begin.
            pid = _fork_outward(way, netns, go, gone) if way else 0
            _enter_network(netns, new=not survivor)
            os.write(gone, b"+")
            _become_keeper(listener, pid, way.nameserver if way else "")
    except OSError as error:
        reason = f"a user namespace can't be made ({error.strerror})"
        os.write(say, reason.encode())
    finally:
        os._exit(1)


def _enter_network(netns: Path, *, new: bool) -> None:
    if new:
        # What is mounted outside later shows here too; what is mounted here shows nowhere else.
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
        syscalls.unshare(syscalls.CLONE_NEWNET)
        netns.touch(mode=0o600)
        # On a file: what leads outside gives up the right to look into /proc/N/ns before it opens it; and it keeps the
        # namespace for the case that this process is killed.
        syscalls.mount("/proc/self/ns/net", os.fspath(netns), None, syscalls.MS_BIND)
    else:
        fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        syscalls.setns(fd, syscalls.CLONE_NEWNET)
        os.close(fd)


def _fork_outward(way: Outward, netns: Path, go: int, gone: int) -> int:
    """Fork what leads outside; it waits for a byte on `go`. Its pid."""
    pid = os.fork()
    if pid == 0:
        os.close(gone)
        _be_outward(way.command(os.fspath(netns)), go)
    os.close(go)
    return pid


def _be_outward(command: list[str], go: int) -> NoReturn:
    """Wait for the namespace, then exec. It ends with the keeper."""
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.read(go, 1):
            # pasta of 2023 takes a SIGPIPE that is ignored already for an error.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            syscalls.close_range(3)
            os.execv(command[0], command)
    finally:
        os._exit(127)


def _become_keeper(listener: socket.socket, way: int, nameserver: str) -> NoReturn:
    """Exec it, so that nothing of the service's memory stays."""
    moved = os.dup2(listener.fileno(), LISTENER_FD, inheritable=True)
    syscalls.close_range(moved + 1, flags=syscalls.CLOSE_RANGE_CLOEXEC)
    program = [sys.executable, "-S", "-E", "-I", os.fspath(KEEPER), str(way), nameserver]
    os.execve(program[0], program, {})
