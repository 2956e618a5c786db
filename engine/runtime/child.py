"""The container's process between clone and execve: it builds its own root and becomes what config.json says.

Runs in the starter's memory (`vfork`). From the pivot on nothing is imported, no name is resolved and no file of the
image is read but through `inroot` (CVE-2019-14271). The process is non-dumpable until execve, so the container can
neither ptrace it nor open its /proc/N/exe and /proc/N/fd (CVE-2016-9962, CVE-2019-5736).
"""

from __future__ import annotations

import errno
import fcntl
import os

from dosirak.engine.runtime import apparmor, devices, filesystems, listening, masks, namespaces, process, rootfs
from dosirak.engine.runtime import signals as signal
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

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


class Plan:
    """What the child has to do, and the descriptors it does it with; and what it leaves to be read: `terminal`, the
    pty's master, and `reached`."""

    __slots__ = (
        "before_run",
        "binds",
        "bundle",
        "cgroup",
        "cgroup_fds",
        "door",
        "filter",
        "init",
        "listener",
        "mounts",
        "namespaces",
        "process",
        "reached",
        "ready",
        "root",
        "size",
        "spec",
        "stdio",
        "target",
        "terminal",
        "told",
    )

    def __init__(
        self, spec: dict[str, Any], process: dict[str, Any], *, cgroup_fds: list[int], size: tuple[int, int]
    ) -> None:
        """Parameters: `spec`: config.json; `process`: of it, or an exec's own; `cgroup_fds`: by which the cgroup is
        joined; `size`: rows and columns of a terminal. The rest is set by who knows it."""
        self.spec, self.process, self.cgroup_fds, self.size = spec, process, cgroup_fds, size
        self.stdio: tuple[int, int, int] = (-1, -1, -1)
        self.namespaces = namespaces.Namespaces([], {})
        self.bundle = ""
        self.cgroup: str | None = None
        self.binds: list[int] = []
        self.root = -1  # the root's file system, where only the host's root may make it
        self.ready = filesystems.Ready([])
        self.target = -1  # pidfd of the container that an exec enters
        self.filter = b""  # linux.seccomp, compiled
        self.before_run: Callable[[], None] | None = None  # see `container.create`
        self.door: Any = None  # whoever has a say before pivot and execve, and outlives no process (`oci.launch.Door`)
        self.listener = -1  # a connection to whom linux.seccomp asks
        self.told = b""  # what that one is told
        self.init = -1  # the program that runs the container's as its child
        self.terminal = self.mounts = -1
        self.reached = False  # the program is about to run


def run(plan: Plan) -> None:
    """Become the container's process. Raises OSError, process.CannotExec, users.UnknownUser."""
    # Caught or ignored signals would be so in the container; one that comes now must end this process.
    process.reset_signals()
    if plan.door is None:
        sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    if plan.door is None and plan.process.get("apparmorProfile"):
        apparmor.apply(plan.process["apparmorProfile"])
    if plan.listener >= 0:
        pid = int(os.readlink("/proc/self"))  # here /proc is still the host's
        plan.told = listening.state(plan.spec, plan.bundle, pid)
    _join_cgroup(plan)
    root_fd = _enter_running(plan) if plan.target >= 0 else _build(plan)
    _finish(plan, root_fd)


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


def _join_cgroup(plan: Plan) -> None:
    for fd in plan.cgroup_fds:
        os.write(fd, b"0")
        os.close(fd)
    if "cgroup" in plan.namespaces.new:
        sys.unshare(sys.CLONE_NEWCGROUP)


def _build(plan: Plan) -> int:
    """A new container: namespaces, root, mounts, devices, pivot. Returns the root's descriptor."""
    spec, linux = plan.spec, plan.spec.get("linux") or {}
    plan.namespaces.join()
    if "uts" in plan.namespaces.new:
        if spec.get("hostname"):
            sys.sethostname(os.fsencode(spec["hostname"]))
        if spec.get("domainname"):
            sys.setdomainname(os.fsencode(spec["domainname"]))
    propagation = _PROPAGATION[linux.get("rootfsPropagation") or ""]
    plan.mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    # Nothing mounted from here on may show on the host.
    sys.mount(None, "/", None, sys.MS_REC | (sys.MS_PRIVATE if propagation & sys.MS_PRIVATE else sys.MS_SLAVE))
    root_fd = rootfs.open_root(spec, plan.bundle, plan.root)
    rootfs.mount_all(spec, root_fd, plan.cgroup, plan.ready, plan.binds)
    # The last mount there wins; a host's /dev bound by the user is left as it is.
    kinds = [entry.get("type") for entry in spec.get("mounts") or () if entry["destination"] == "/dev"]
    if kinds[-1:] == ["tmpfs"]:
        devices.make_nodes(spec, root_fd, filled=plan.ready.has_nodes and len(kinds) == 1)
    if plan.process.get("terminal"):
        _open_terminal(plan, root_fd, console=True)
    if linux.get("sysctl"):
        rootfs.write_sysctls(linux["sysctl"], rootfs.check_proc(root_fd))
    process.make_cwd(plan.process.get("cwd") or "/", root_fd)
    masks.make_readonly(linux.get("readonlyPaths") or [], root_fd)
    masks.mask(linux.get("maskedPaths") or [], root_fd)
    if plan.door is not None:
        plan.door.before_pivot(root_fd)
    rootfs.enter(root_fd, propagation, readonly=bool(spec["root"].get("readonly")))
    return root_fd


def _enter_running(plan: Plan) -> int:
    """A further process in a running container, whose namespaces `target` (a pidfd) gives. Returns its root."""
    # setns(2) with a pidfd (kernel 5.8): all at once; also those shared with the host, where it changes nothing.
    # But for the root of a user namespace, who may not enter what is the host's.
    kinds = {entry["type"] for entry in (plan.spec.get("linux") or {}).get("namespaces") or ()}
    entered = ("mount", "uts", "ipc", "network", "cgroup")
    sys.setns(plan.target, sum(namespaces.FLAGS[kind] for kind in entered if kind in kinds or "user" not in kinds))
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if plan.process.get("terminal"):
        _open_terminal(plan, root_fd, console=False)
    return root_fd


def _open_terminal(plan: Plan, root_fd: int, *, console: bool) -> None:
    """Our own pty on the container's devpts; the master is the monitor's."""
    plan.terminal, slave = devices.open_pty(root_fd)
    if console:
        devices.bind_console(root_fd, slave)
    devices.take_terminal(slave, *plan.size)
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
    if plan.door is None:
        sys.join_session_keyring()
    elif plan.door.keyring is not None:
        sys.join_session_keyring(plan.door.keyring)
    for fd in set(plan.stdio):
        # So that the user can reopen /dev/stdout, as runc does; the null device stays root's.
        if identity.uid and os.fstat(fd).st_rdev != os.makedev(1, 3):
            try:
                os.fchown(fd, identity.uid, -1)
            except OSError as error:
                if error.errno != errno.EINVAL:  # an id that is not to be had: `become` says so
                    raise
    if plan.before_run is not None:
        plan.before_run()
    if plan.door is not None:
        plan.door.finish(plan, identity, env)  # the rest is its own
    _keep_only_stdio(plan)
    process.set_limits(settings)  # not before: a low number of files would be in our own way
    # As root first, as runc does: the image may send a user where he could not go himself.
    entered = process.enter_cwd(settings.get("cwd") or "/", denied_is_fine=True)
    process.become(settings, identity, filtered=bool(plan.filter))
    if not entered:
        process.enter_cwd(settings.get("cwd") or "/")
    program = process.find_program(settings["args"][0], env)
    # Dies with its monitor: without one nobody would reap it or note its end. Again, since a change of credentials has
    # cleared it (PR_SET_PDEATHSIG(2const)).
    sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)
    plan.reached = True
    if plan.filter:
        notifications = process.confine(settings, plan.filter)
        if notifications > 0:
            listening.send(plan.listener, plan.told, notifications)
    process.run(program, settings, env, plan.init)


def _keep_only_stdio(plan: Plan) -> None:
    """Streams to 0, 1, 2, the init's program and the listener behind; all else is closed, now: a path of the image's
    choice (cwd, program) could climb out through a directory that is still open, by /proc/self/fd (CVE-2024-21626)."""
    sys.unshare(sys.CLONE_FILES)
    # Above 3 first: a source may itself be one of these numbers.
    wanted = [*plan.stdio, *(fd for fd in (plan.init, plan.listener) if fd >= 0)]
    sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 5) for fd in wanted]
    for number, fd in enumerate(sources):
        os.dup2(fd, number, inheritable=number < 3)
    if plan.listener >= 0:
        plan.listener = len(wanted) - 1
    plan.init = 3 if plan.init >= 0 else -1
    sys.close_range(len(wanted))
