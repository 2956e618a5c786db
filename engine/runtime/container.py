"""Starting a process: cgroup, pipes, namespaces, clone, and what went wrong in the child.

`create` makes a container's first process, `join` a further one in a running container. Both return once the process
has exec'd; it is then a child of the caller's parent. Used by the starter; the OCI command line stands on the same two.
"""

from __future__ import annotations

import errno
import os
import select

from dosirak.engine.runtime import cgroups, child, filesystems, listening, namespaces, privilege, rootfs, users, vfork
from dosirak.engine.runtime import process as programs
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class StartError(Exception):
    """The process could not be started; `exit_code` is 127 (not found), 126 (can't execute) or 128.

    `pid`: the child that failed, still to be waited for; 0 where there was none.
    """

    def __init__(self, message: str, exit_code: int, pid: int = 0) -> None:
        super().__init__(message)
        self.exit_code, self.pid = exit_code, pid


class Process:
    """A started process: its pid and pidfd, and our ends of its streams (-1: none).

    With a terminal, `terminal` is the pty's master and stands for all three streams. `mounts` is a container's mount
    namespace: whoever holds it last unmounts all that is in it, which for an overlay means to write its file system
    back to disk, and should not be a process whose end somebody waits for.
    """

    __slots__ = ("mounts", "pid", "pidfd", "stderr", "stdin", "stdout", "terminal")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = self.stdin = self.stdout = self.stderr = self.terminal = self.mounts = -1


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


def create(
    spec: dict[str, Any],
    bundle: str,
    *,
    join: dict[str, int],
    stdin: bool,
    filter_fd: int = -1,
    init: int = -1,
    size: tuple[int, int] = (0, 0),
    ready: filesystems.Ready | None = None,
    before_run: Callable[[], None] | None = None,
) -> Process:
    """Start the container that config.json describes, and wait until its program runs.

    Parameters as for `prepare`; `stdin`: keep a pipe open for it (else /dev/null); `before_run`: called by the process
    when all else is done, and raises OSError if it must not go on. Raises StartError; nothing of it is left but the
    cgroup, which belongs to the caller. This process may have changed namespaces then, and has the
    child's descriptors: it should end.
    """
    _set_oom_score(spec["process"])
    plan, flags = prepare(spec, bundle, join=join, filter_fd=filter_fd, init=init, size=size, ready=ready)
    plan.before_run = before_run
    return _start(plan, flags, stdin=stdin)


def prepare(
    spec: dict[str, Any],
    bundle: str,
    *,
    join: dict[str, int],
    filter_fd: int = -1,
    init: int = -1,
    size: tuple[int, int] = (0, 0),
    ready: filesystems.Ready | None = None,
) -> tuple[child.Plan, int]:
    """Do what comes before a container's clone: its plan, and flags for clone(2).

    Parameters: `spec`: the document; `bundle`: the bundle's path; `join`: namespace type → descriptor, in place of
    the entry's path; `filter_fd`: linux.seccomp, compiled (`seccomp.Filters`); `init`: a descriptor of the program that
    runs the container's as its child, or -1; `size`: rows and columns of a terminal; `ready`: file systems made ahead
    of time. Raises StartError. This process has changed namespaces then, and may have no child but that.
    """
    linux = spec.get("linux") or {}
    cgroup = (linux.get("cgroupsPath") or "").lstrip("/") or None
    try:
        compiled = _read_filter(linux, filter_fd)
        spaces = namespaces.Namespaces(linux.get("namespaces") or [], join)
        cgroup_fds = cgroups.create(cgroup, linux.get("resources") or {}) if cgroup else []
        plan = child.Plan(spec, spec["process"], cgroup_fds=cgroup_fds, size=size)
        plan.filter = compiled
        user = spaces.make_user(linux)
        plan.binds = rootfs.open_binds(spec, user)
        if user >= 0:
            plan.root = rootfs.open_layers(spec, user)
        _connect(plan, linux)
        spaces.prepare_parent(linux)
    except OSError as error:
        raise start_error(error) from error
    plan.namespaces, plan.bundle, plan.cgroup, plan.init = spaces, bundle, cgroup, init
    if ready is not None and user < 0:  # they are the host's
        if "ipc" not in spaces.ready:
            ready.forget("mqueue")
        if not cgroups.took_ready():
            ready.cgroups = -1
        plan.ready = ready
    return plan, spaces.clone_flags()


def _read_filter(linux: dict[str, Any], filter_fd: int) -> bytes:
    """Never start without a filter that is asked for."""
    if filter_fd < 0:
        if linux.get("seccomp"):
            raise OSError(errno.EINVAL, "config.json has linux.seccomp, but no compiled filter came with it")
        return b""
    # From the beginning, wherever others who have this file open have read to.
    return os.pread(filter_fd, os.fstat(filter_fd).st_size, 0)


def _connect(plan: child.Plan, linux: dict[str, Any]) -> None:
    """Where somebody listens to what a filter asks: from here, since the container's user may not be let there."""
    if listening.wanted(plan.filter):
        plan.listener = listening.connect(linux["seccomp"]["listenerPath"])


def join(
    spec: dict[str, Any],
    process: dict[str, Any],
    target: int,
    *,
    stdin: bool,
    filter_fd: int = -1,
    size: tuple[int, int] = (0, 0),
) -> Process:
    """Start a further process in a running container. Parameters as for `prepare_join`; else as `create`."""
    _set_oom_score(process)
    return _start(prepare_join(spec, process, target, filter_fd=filter_fd, size=size), 0, stdin=stdin)


def prepare_join(
    spec: dict[str, Any],
    process: dict[str, Any],
    target: int,
    *,
    filter_fd: int = -1,
    size: tuple[int, int] = (0, 0),
) -> child.Plan:
    """Do what comes before the clone of a further process.

    Parameters: `spec`: the container's document; `process`: an OCI process object; `target`: pidfd of its first
    process; `filter_fd`: as for `prepare`. Raises StartError, and leaves this process as `prepare` does.
    """
    linux = spec.get("linux") or {}
    cgroup = (linux.get("cgroupsPath") or "").lstrip("/")
    try:
        cgroup_fds = cgroups.join_beside_fds(cgroup, target) if cgroup else []
        plan = child.Plan(spec, process, cgroup_fds=cgroup_fds, size=size)
        plan.target, plan.filter = target, _read_filter(linux, filter_fd)
        _connect(plan, linux)
        namespaces.follow(target, linux.get("namespaces") or [])
    except OSError as error:
        if _has_ended(target):  # what is missing is its cgroup or its namespaces, not a program
            raise StartError("the container has ended", 128) from error
        raise start_error(error) from error
    return plan


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _start(plan: child.Plan, flags: int, *, stdin: bool) -> Process:
    """Clone the child and wait until it has exec'd."""
    try:
        # Made by the root of its user namespace, so that this one can open /dev/stdout again.
        stdio = Stdio(stdin=stdin, terminal=bool(plan.process.get("terminal")))
        plan.stdio = stdio.theirs
        flags |= sys.CLONE_FILES | vfork.CLONE_PARENT
        pid, error = vfork.spawn(flags, lambda: child.run(plan))
    except OSError as error:
        raise start_error(error) from error
    if error is not None:
        raise start_error(error, pid) from error
    if not plan.reached:
        os._exit(1)  # it was killed, and this interpreter is stuck in the middle of its work; the monitor sees that
    process = Process(pid)
    process.stdin, process.stdout, process.stderr = stdio.ours
    process.terminal, process.mounts = plan.terminal, plan.mounts
    process.pidfd = os.pidfd_open(pid)
    return process


def _set_oom_score(process: dict[str, Any]) -> None:
    """The child inherits it. Also undoes the monitor's own protection; in a user namespace we could not any more."""
    wanted = process.get("oomScoreAdj") or 0
    try:
        with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
            now = int(file.read())
            if privilege.here().confined:
                wanted = max(now, wanted)  # there is no way down for an ordinary user: as in Docker's rootless mode
            if now != wanted:
                file.write(b"%d" % wanted)
    except OSError as error:
        raise start_error(error) from error


def start_error(error: BaseException, pid: int = 0) -> StartError:
    """What a failed start is told as: in Docker's words and with its exit code."""
    if isinstance(error, programs.CannotExec):
        return StartError(str(error), error.exit_code, pid)
    if isinstance(error, users.UnknownUser):
        return StartError(str(error), 126, pid)
    if isinstance(error, OSError):
        return StartError(child.describe(error), child.exit_code(error), pid)
    return StartError(f"{type(error).__name__}: {error}", 128, pid)  # a defect of ours
