"""The parent's half of starting a process: cgroup, pipes, clone, and what went wrong in the child.

`create` makes a container's first process, `join` a further one in a running container. Both return once the
process has exec'd. Used by the monitor; the OCI command line stands on the same two.
"""

from __future__ import annotations

import json
import os
import signal
import socket

from dosirak.engine.runtime import cgroups, child, namespaces
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


def create(
    spec: dict[str, Any], bundle: str, *, join: dict[str, int], stdin: bool, size: tuple[int, int] = (0, 0)
) -> Process:
    """Start the container that config.json describes.

    Parameters: `spec`: the document; `bundle`: the bundle's path; `join`: namespace type → descriptor, in place of
    the entry's path; `stdin`: keep a pipe open for it (else /dev/null); `size`: rows and columns of a terminal.
    Raises StartError; nothing of it is left but the cgroup, which belongs to the caller.
    """
    linux = spec.get("linux") or {}
    try:
        spaces = namespaces.Namespaces(linux.get("namespaces") or [], join)
        spaces.prepare_parent(linux.get("timeOffsets"))
        cgroup = linux.get("cgroupsPath") or None
        cgroup_fds = cgroups.create(cgroup.lstrip("/"), linux.get("resources") or {}) if cgroup else []
    except OSError as error:
        raise StartError(_describe(error), 128) from error

    def plan(sync: socket.socket, error_fd: int) -> child.Plan:
        made = child.Plan(spec, spec["process"], sync, error_fd)
        made.bundle, made.namespaces, made.size = bundle, spaces, size
        made.cgroup, made.cgroup_fds = cgroup.lstrip("/") if cgroup else None, cgroup_fds
        return made

    return _start(plan, spaces.clone_flags(), stdin, bool(spec["process"].get("terminal")), linux, cgroup_fds)


def join(
    spec: dict[str, Any], process: dict[str, Any], target: int, *, stdin: bool, size: tuple[int, int] = (0, 0)
) -> Process:
    """Start a further process in a running container.

    Parameters: `spec`: the container's document; `process`: an OCI process object; `target`: pidfd of its first
    process. Raises StartError.
    """
    cgroup = (spec.get("linux") or {}).get("cgroupsPath")
    try:
        cgroup_fds = cgroups.join_fds(cgroup.lstrip("/")) if cgroup else []
        # Only for children: this process stays where it is (setns(2), CLONE_NEWPID).
        sys.setns(target, sys.CLONE_NEWPID)
    except OSError as error:
        raise StartError(_describe(error), 128) from error

    def plan(sync: socket.socket, error_fd: int) -> child.Plan:
        made = child.Plan(spec, process, sync, error_fd)
        made.target, made.cgroup_fds, made.size = target, cgroup_fds, size
        return made

    return _start(plan, 0, stdin, bool(process.get("terminal")), {}, cgroup_fds)


def _start(plan: Any, flags: int, stdin: bool, terminal: bool, linux: dict[str, Any], cgroup_fds: list[int]) -> Process:
    stdio = Stdio(stdin=stdin, terminal=terminal)
    errors_read, errors_write = os.pipe()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    todo = plan(theirs, errors_write)
    todo.stdio = stdio.theirs
    pid = sys.clone(flags | signal.SIGCHLD)
    if pid == 0:
        child.run(todo)
    theirs.close()
    os.close(errors_write)
    stdio.close(stdio.theirs)
    for fd in cgroup_fds:
        os.close(fd)
    process = Process(pid)
    process.stdin, process.stdout, process.stderr = stdio.ours
    try:
        process.pidfd = sys.pidfd_open(pid)
        if flags & sys.CLONE_NEWUSER:
            namespaces.write_id_maps(pid, linux)
            ours.send(b"m")
        if terminal:
            _, fds, _, _ = socket.recv_fds(ours, 1, 1)
            process.terminal = fds[0] if fds else -1
        failure = _read_all(errors_read)
    except OSError as error:
        failure = json.dumps({"error": _describe(error), "exit_code": 128}).encode()
    finally:
        ours.close()
        os.close(errors_read)
    if failure:
        _give_up(process, stdio)
        said = json.loads(failure)
        raise StartError(said["error"], said["exit_code"])
    return process


def _read_all(fd: int) -> bytes:
    """What the child says before execve closes its end; nothing when all went well."""
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


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


def _describe(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{text}: {error.filename}" if error.filename else text
