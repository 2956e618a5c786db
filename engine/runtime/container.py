"""The parent's half of starting a process: cgroup, pipes, clone, and what went wrong in the child.

`create` makes a container's first process, `join` a further one in a running container. Both return once the
process has exec'd. Used by the monitor; the OCI command line stands on the same two.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat

from dosirak.engine.runtime import cgroups, child, namespaces, rootfs
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class StartError(Exception):
    """The process could not be started; `exit_code` is 127 (not found), 126 (can't execute) or 128."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Process:
    """A started process: its pid and pidfd, and our ends of its streams (-1: none).

    With a terminal, `terminal` is the pty's master and stands for all three streams.
    """

    __slots__ = ("pid", "pidfd", "stderr", "stdin", "stdout", "terminal")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = self.stdin = self.stdout = self.stderr = self.terminal = -1


class Stdio:
    """The two ends of a process's three streams."""

    __slots__ = ("ours", "theirs")

    def __init__(self, *, stdin: bool, terminal: bool) -> None:
        self.ours = self.theirs = (-1, -1, -1)
        if terminal:
            return
        # One pipe each, as Docker: a program may tell a pipe from a file or socket.
        read, write = os.pipe() if stdin else (os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), -1)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        self.ours = (write, out_read, err_read)
        self.theirs = (read, out_write, err_write)

    def close(self, ends: tuple[int, int, int]) -> None:
        """Close one side."""
        for fd in ends:
            if fd >= 0:
                os.close(fd)


# The namespaces of an ordinary container; its network namespace is made ahead of time elsewhere and joined.
SPARE_FLAGS = sys.CLONE_NEWNS | sys.CLONE_NEWUTS | sys.CLONE_NEWIPC | sys.CLONE_NEWPID


class Child:
    """A cloned process that waits for its plan (`child.main`)."""

    __slots__ = ("flags", "pid", "sync")

    def __init__(self, flags: int, *, early: bool = False) -> None:
        """Clone it. `early`: nobody waits for it yet, it may get things ready. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.flags, self.sync = flags, ours
        self.pid = sys.clone(flags | signal.SIGCHLD)
        if self.pid == 0:
            ours.close()
            child.main(theirs, early=early)
        theirs.close()

    def alive(self) -> bool:
        """Whether it still waits; nobody should have killed it."""
        return os.waitpid(self.pid, os.WNOHANG) == (0, 0)

    def dismiss(self) -> None:
        """It is not needed."""
        self.sync.close()
        os.waitpid(self.pid, 0)


class _Order:
    """What goes to the child: a message, and descriptors in the order in which `child.Plan` takes them."""

    __slots__ = ("fds", "filter", "message", "own")

    def __init__(
        self, bundle: str, *, size: tuple[int, int], cgroup: str | None, cgroup_fds: list[int], filter_fd: int
    ) -> None:
        self.message: dict[str, Any] = {
            "bundle": bundle,
            "cgroup": cgroup,
            "size": size,
            "stdio": False,
            "exec": False,
            "init": False,
            "filter": filter_fd >= 0,
            "cgroup_fds": len(cgroup_fds),
            "binds": 0,
            "new": [],
            "joined": [],
        }
        self.filter = [filter_fd] if filter_fd >= 0 else []
        self.fds: list[int] = []
        self.own = list(cgroup_fds)  # to be closed here once sent

    def document(self, document: dict[str, Any]) -> int:
        """A descriptor of a document, however long."""
        memfd = os.memfd_create("document", os.MFD_CLOEXEC)
        os.write(memfd, json.dumps(document).encode())
        self.own.append(memfd)
        return memfd


def create(
    spec: dict[str, Any],
    bundle: str,
    *,
    join: dict[str, int],
    stdin: bool,
    filter_fd: int = -1,
    size: tuple[int, int] = (0, 0),
    spare: Child | None = None,
    init: int = -1,
) -> Process:
    """Start the container that config.json describes.

    Parameters: `spec`: the document; `bundle`: the bundle's path; `join`: namespace type → descriptor, in place of
    the entry's path; `stdin`: keep a pipe open for it (else /dev/null); `filter_fd`: linux.seccomp, compiled
    (`seccomp.Filters`), which stays the caller's; `size`: rows and columns of a terminal;
    `spare`: a child cloned ahead of time, used if it lives in the right namespaces and dismissed otherwise; `init`: a
    descriptor of the program that runs the container's as its child, or -1.
    Raises StartError; nothing of it is left but the cgroup, which belongs to the caller.
    """
    linux = spec.get("linux") or {}
    cgroup = (linux.get("cgroupsPath") or "").lstrip("/") or None
    _check_filter(linux, filter_fd)
    try:
        spaces = namespaces.Namespaces(linux.get("namespaces") or [], join)
        cgroup_fds = cgroups.create(cgroup, linux.get("resources") or {}) if cgroup else []
        if spare is not None and not spare.alive():
            spare = None
        if spare is not None and (spaces.clone_flags() != spare.flags or spaces.need_parent()):
            spare.dismiss()
            spare = None
        if spare is None:
            spaces.prepare_parent(linux.get("timeOffsets"))
            spare = Child(spaces.clone_flags())
        binds = rootfs.open_binds(spec)
    except OSError as error:
        if spare is not None:
            spare.dismiss()
        raise StartError(child.describe(error), child.exit_code(error)) from error
    order = _Order(bundle, size=size, cgroup=cgroup, cgroup_fds=cgroup_fds, filter_fd=filter_fd)
    order.message["new"], order.message["joined"] = spaces.new, list(spaces.joined)
    order.message["binds"] = len(binds)
    order.message["init"] = init >= 0
    inits = [init] if init >= 0 else []
    order.fds = [order.document(spec), *order.filter, *inits, *cgroup_fds, *binds, *spaces.joined.values()]
    order.own += [*binds, *spaces.opened]
    return _start(spare, order, stdin=stdin, terminal=bool(spec["process"].get("terminal")), linux=linux)


def _check_filter(linux: dict[str, Any], filter_fd: int) -> None:
    """Never start without a filter that is asked for."""
    if linux.get("seccomp") and filter_fd < 0:
        raise StartError("config.json has linux.seccomp, but no compiled filter came with it", 128)


def join(
    spec: dict[str, Any],
    process: dict[str, Any],
    target: int,
    *,
    stdin: bool,
    filter_fd: int = -1,
    size: tuple[int, int] = (0, 0),
) -> Process:
    """Start a further process in a running container.

    Parameters: `spec`: the container's document; `process`: an OCI process object; `target`: pidfd of its first
    process; `filter_fd`: as for `create`. Raises StartError.
    """
    linux = spec.get("linux") or {}
    _check_filter(linux, filter_fd)
    cgroup = (linux.get("cgroupsPath") or "").lstrip("/")
    try:
        cgroup_fds = cgroups.join_fds(cgroup) if cgroup else []
        # Only for children: this process stays where it is (setns(2), CLONE_NEWPID).
        sys.setns(target, sys.CLONE_NEWPID)
        made = Child(0)
    except OSError as error:
        raise StartError(child.describe(error), child.exit_code(error)) from error
    order = _Order("", size=size, cgroup=None, cgroup_fds=cgroup_fds, filter_fd=filter_fd)
    order.message["exec"] = True
    order.fds = [
        *(order.document(spec), target, order.document(process)),
        *order.filter,
        *cgroup_fds,
    ]
    return _start(made, order, stdin=stdin, terminal=bool(process.get("terminal")), linux=linux)


def _start(made: Child, order: _Order, *, stdin: bool, terminal: bool, linux: dict[str, Any]) -> Process:
    """Give the child its plan and wait until it has exec'd."""
    try:
        stdio = Stdio(stdin=stdin, terminal=terminal)
        errors_read, errors_write = os.pipe()
    except OSError as error:
        made.dismiss()
        raise StartError(child.describe(error), 128) from error
    order.message["stdio"] = not terminal
    process = Process(made.pid)
    process.stdin, process.stdout, process.stderr = stdio.ours
    try:
        process.pidfd = sys.pidfd_open(made.pid)
        if linux.get("uidMappings"):
            _give_streams(stdio.theirs, linux)
        streams = [] if terminal else list(stdio.theirs)
        socket.send_fds(made.sync, [json.dumps(order.message).encode()], [errors_write, *streams, *order.fds])
        os.close(errors_write)
        stdio.close(stdio.theirs)
        for fd in order.own:
            os.close(fd)
        if made.flags & sys.CLONE_NEWUSER:
            namespaces.write_id_maps(made.pid, linux)
            made.sync.send(b"m")
        if terminal:
            _, fds, _, _ = socket.recv_fds(made.sync, 1, 1, socket.MSG_CMSG_CLOEXEC)
            process.terminal = fds[0] if fds else -1
        said = _read_all(errors_read)
    except OSError as error:
        said = json.dumps({"error": child.describe(error), "exit_code": 128}).encode()
    finally:
        made.sync.close()
        os.close(errors_read)
    if said != child.READY:
        _give_up(process, stdio)
        raise _start_error(said.removeprefix(child.READY), order.message["cgroup"])
    return process


def _give_streams(streams: tuple[int, int, int], linux: dict[str, Any]) -> None:
    """So that a user namespace's root can open /dev/stdout again: the pipes would be those of a stranger."""
    uid, gid = (namespaces.host_root(linux.get(f"{name}Mappings") or ()) for name in ("uid", "gid"))
    for fd in streams:
        if fd >= 0 and stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, uid, gid)


def _read_all(fd: int) -> bytes:
    """What the child says before execve closes its end."""
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def _start_error(said: bytes, cgroup: str | None) -> StartError:
    if said:
        message = json.loads(said)
        return StartError(message["error"], message["exit_code"])
    if cgroup and cgroups.oom_kills(cgroup):
        return StartError("container init was OOM-killed (memory limit too low?)", 128)
    return StartError("the process was killed while it was being set up", 128)


def _give_up(process: Process, stdio: Stdio) -> None:
    try:
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
    stdio.close(stdio.ours)
    for fd in (process.pidfd, process.terminal):
        if fd >= 0:
            os.close(fd)
