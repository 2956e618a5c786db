"""The container's process between clone and execve: it builds its own root and becomes what config.json says.

Runs in a forked Python whose parent is the monitor, and waits there for its plan: it may be cloned long before it is
needed (a *spare*), with the file systems that every container mounts made ready meanwhile. From the pivot on nothing
is imported, no name is resolved and no file of the image is read but through `inroot` (CVE-2019-14271): all modules
are loaded before the fork. The process is non-dumpable until execve, so the container can neither ptrace it nor open
its /proc/N/exe and /proc/N/fd (CVE-2016-9962, CVE-2019-5736).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket

from dosirak.engine.runtime import defaults, devices, filesystems, namespaces, process, rootfs, users
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_PROPAGATION = {
    "": sys.MS_SLAVE | sys.MS_REC,
    "rslave": sys.MS_SLAVE | sys.MS_REC,
    "slave": sys.MS_SLAVE,
    "rprivate": sys.MS_PRIVATE | sys.MS_REC,
    "private": sys.MS_PRIVATE,
    "shared": sys.MS_SHARED,
    "rshared": sys.MS_SHARED | sys.MS_REC,
    "unbindable": sys.MS_UNBINDABLE,
}

# SCM_MAX_FD of unix(7)
_MESSAGE, _MAX_FDS = 1 << 16, 253

# Said on the error pipe right before execve: silence means that the process was killed before.
READY = b"+"


class Plan:
    """What the child has to do, and the descriptors it does it with."""

    __slots__ = (
        "binds",
        "bundle",
        "cgroup",
        "cgroup_fds",
        "error_fd",
        "filter",
        "init",
        "namespaces",
        "process",
        "size",
        "spec",
        "stdio",
        "target",
    )

    def __init__(self, message: dict[str, Any], fds: list[int]) -> None:
        """Parameters: as `container` sends them; the descriptors stand in the order in which they are taken here."""
        self.error_fd = fds.pop(0)
        self.bundle: str = message["bundle"]
        self.cgroup: str | None = message["cgroup"]
        self.size: tuple[int, int] = tuple(message["size"])
        self.stdio: tuple[int, int, int] = (-1, -1, -1)
        if message["stdio"]:
            self.stdio = (fds.pop(0), fds.pop(0), fds.pop(0))
        self.spec: dict[str, Any] = _read_json(fds.pop(0))
        self.target, self.process = -1, self.spec["process"]
        if message["exec"]:
            self.target, self.process = fds.pop(0), _read_json(fds.pop(0))
        self.filter = _read_bytes(fds.pop(0)) if message["filter"] else b""
        self.init = fds.pop(0) if message["init"] else -1
        self.cgroup_fds = [fds.pop(0) for _ in range(message["cgroup_fds"])]
        self.binds = [fds.pop(0) for _ in range(message["binds"])]
        self.namespaces = namespaces.Namespaces([{"type": name} for name in message["new"]], {})
        self.namespaces.joined = dict(zip(message["joined"], fds, strict=True))


def _read_json(fd: int) -> dict[str, Any]:
    with open(fd, "rb", buffering=0) as file:
        file.seek(0)
        document: dict[str, Any] = json.loads(file.read())
    return document


def _read_bytes(fd: int) -> bytes:
    """From the beginning, wherever others who have this file open have read to."""
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    os.close(fd)
    return data


def main(sync: socket.socket, *, early: bool) -> NoReturn:
    """Wait for the plan and become the container's process. Failures go up the error pipe; the process then ends.

    Parameters: `sync`: to the monitor; `early`: there is time to get things ready before the plan comes.
    """
    try:
        # The forked monitor may have had these caught; a signal now must end this process, not run Python code.
        sys.prctl(sys.PR_SET_DUMPABLE, 0)
        process.reset_signals()
        os.setsid()
        ready = filesystems.Ready(_get_ready() if early else [])
        data, fds, _, _ = socket.recv_fds(sync, _MESSAGE, _MAX_FDS, socket.MSG_CMSG_CLOEXEC)
        if data:
            plan = Plan(json.loads(data), fds)
            _run(plan, sync, ready)
    except BaseException:  # before there is a pipe to report by; the monitor sees the end
        os._exit(125)
    os._exit(0)


def _get_ready() -> list[dict[str, Any]]:
    """In a spare: touch what every start touches (a fork's first write to a page copies it); returns the mounts that
    can be made already."""
    sys.mount(None, "/", None, sys.MS_REC | sys.MS_SLAVE)
    host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    process.identify({"user": {"username": "root"}}, [], host)
    process.find_program("true", [f"PATH={process.DEFAULT_PATH}"])
    os.close(host)
    return defaults.mounts()


def _run(plan: Plan, sync: socket.socket, ready: filesystems.Ready) -> None:
    try:
        _join_cgroup(plan)
        root_fd = _enter_running(plan, sync) if plan.target >= 0 else _build(plan, sync, ready)
        _finish(plan, root_fd)
    except process.CannotExec as error:
        _report(plan.error_fd, str(error), error.exit_code)
    except users.UnknownUser as error:
        _report(plan.error_fd, str(error), 126)
    except OSError as error:
        _report(plan.error_fd, describe(error), exit_code(error))
    except BaseException as error:  # a defect of ours must not run on as a second monitor
        _report(plan.error_fd, f"{type(error).__name__}: {error}", 128)


def describe(error: OSError) -> str:
    """One line: what failed, in the kernel's words as Go writes them, and on which file."""
    kernel = os.strerror(error.errno or 0)
    text = (error.strerror or str(error)).replace(kernel, kernel.lower())
    name = os.fsdecode(error.filename) if error.filename is not None else ""
    return f"{text}: {name}" if name and name not in text else text


def exit_code(error: OSError) -> int:
    """What Docker makes of a failed start (moby daemon/errors.go, setExitCodeFromError)."""
    if error.errno in (errno.EACCES, errno.EISDIR):
        return 126
    return 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 128


def _report(fd: int, message: str, exit_code: int) -> None:
    os.write(fd, json.dumps({"error": message, "exit_code": exit_code}).encode())


def _join_cgroup(plan: Plan) -> None:
    for fd in plan.cgroup_fds:
        os.write(fd, b"0")
        os.close(fd)
    if "cgroup" in plan.namespaces.new:
        sys.unshare(sys.CLONE_NEWCGROUP)


def _wait_for_id_maps(plan: Plan, sync: socket.socket) -> None:
    if "user" in plan.namespaces.new:
        sync.recv(1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def _build(plan: Plan, sync: socket.socket, ready: filesystems.Ready) -> int:
    """A new container: namespaces, root, mounts, devices, pivot. Returns the root's descriptor."""
    spec, linux = plan.spec, plan.spec.get("linux") or {}
    _set_oom_score(plan.process)
    _wait_for_id_maps(plan, sync)
    plan.namespaces.join()
    if "uts" in plan.namespaces.new:
        if spec.get("hostname"):
            sys.sethostname(os.fsencode(spec["hostname"]))
        if spec.get("domainname"):
            sys.setdomainname(os.fsencode(spec["domainname"]))
    propagation = _PROPAGATION[linux.get("rootfsPropagation") or ""]
    # Nothing mounted from here on may show on the host.
    sys.mount(None, "/", None, sys.MS_REC | (sys.MS_PRIVATE if propagation & sys.MS_PRIVATE else sys.MS_SLAVE))
    root_fd = rootfs.open_root(spec, plan.bundle)
    rootfs.mount_all(spec, root_fd, plan.cgroup, ready, plan.binds)
    # The last mount there wins; a host's /dev bound by the user is left as it is.
    kinds = [entry.get("type") for entry in spec.get("mounts") or () if entry["destination"] == "/dev"]
    if kinds[-1:] == ["tmpfs"]:
        host_dev = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        devices.make_nodes(spec, root_fd, host_dev)
    if plan.process.get("terminal"):
        _open_terminal(plan, sync, root_fd, console=True)
    if linux.get("sysctl"):
        rootfs.write_sysctls(linux["sysctl"], rootfs.check_proc(root_fd))
    process.make_cwd(plan.process.get("cwd") or "/", root_fd)
    rootfs.make_readonly(linux.get("readonlyPaths") or [], root_fd)
    rootfs.mask(linux.get("maskedPaths") or [], root_fd)
    rootfs.enter(root_fd, propagation, readonly=bool(spec["root"].get("readonly")))
    return root_fd


def _enter_running(plan: Plan, sync: socket.socket) -> int:
    """A further process in a running container, whose namespaces `target` (a pidfd) gives. Returns its root."""
    _set_oom_score(plan.process)
    kinds = {entry["type"] for entry in (plan.spec.get("linux") or {}).get("namespaces") or ()}
    flags = sys.CLONE_NEWNS | sys.CLONE_NEWUTS | sys.CLONE_NEWIPC | sys.CLONE_NEWNET | sys.CLONE_NEWCGROUP
    for name in ("user", "time"):
        if name in kinds:
            flags |= namespaces.FLAGS[name]
    # setns(2) with a pidfd (kernel 5.8): all at once; also those shared with the host, where it changes nothing.
    sys.setns(plan.target, flags)
    if "user" in kinds:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    os.close(plan.target)
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if plan.process.get("terminal"):
        _open_terminal(plan, sync, root_fd, console=False)
    return root_fd


def _set_oom_score(settings: dict[str, Any]) -> None:
    """Also undoes the monitor's own protection; written here, where /proc is still the host's."""
    with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
        wanted = str(settings.get("oomScoreAdj") or 0).encode()
        if file.read().strip() != wanted:
            file.write(wanted)


def _open_terminal(plan: Plan, sync: socket.socket, root_fd: int, *, console: bool) -> None:
    """Our own pty on the container's devpts; the master goes to the monitor."""
    master, slave = devices.open_pty(root_fd)
    if console:
        devices.bind_console(root_fd, slave)
    devices.take_terminal(slave, *plan.size)
    socket.send_fds(sync, [b"t"], [master])
    os.close(master)
    plan.stdio = (slave, slave, slave)


def _finish(plan: Plan, root_fd: int) -> None:
    """Identity, environment, limits, privileges, descriptors, execve."""
    settings = plan.process
    annotations = plan.spec.get("annotations") or {}
    groups = [name for name in annotations.get("dosirak.groups", "").split(",") if name]
    identity = process.identify(settings, groups, root_fd)
    env = list(settings.get("env") or ())
    if not any(item.startswith("HOME=") for item in env):
        env.append("HOME=" + os.fsdecode(identity.home))
    sys.join_session_keyring()
    for fd in set(plan.stdio):
        # So that the user can reopen /dev/stdout, as runc does; the null device stays root's.
        if identity.uid and os.fstat(fd).st_rdev != os.makedev(1, 3):
            os.fchown(fd, identity.uid, -1)
    process.set_limits(settings)
    _keep_only_stdio(plan)
    # As root first, as runc does: the image may send a user where he could not go himself.
    entered = process.enter_cwd(settings.get("cwd") or "/", denied_is_fine=True)
    process.become(settings, identity, filtered=bool(plan.filter))
    if not entered:
        process.enter_cwd(settings.get("cwd") or "/")
    program = process.find_program(settings["args"][0], env)
    # Dies with its monitor: without one nobody would reap it or note its end. Cleared by a change of credentials
    # (PR_SET_PDEATHSIG(2const)), hence this late.
    sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.write(plan.error_fd, READY)
    if plan.filter:
        process.confine(settings, plan.filter)
    process.run(program, settings, env, plan.init)


def _keep_only_stdio(plan: Plan) -> None:
    """Streams to 0, 1, 2, the error pipe to 3 and the init's program to 4; all else is closed, now: a path of the
    image's choice (cwd, program) could climb out through a directory that is still open, by /proc/self/fd
    (CVE-2024-21626)."""
    # Above 3 first: a source may itself be one of these numbers.
    wanted = (*plan.stdio, plan.error_fd, *((plan.init,) if plan.init >= 0 else ()))
    sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 5) for fd in wanted]
    for number, fd in enumerate(sources):
        os.dup2(fd, number, inheritable=number < 3)
    plan.error_fd = 3
    plan.init = 4 if plan.init >= 0 else -1
    sys.close_range(len(wanted))
