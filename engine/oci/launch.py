"""From a plan to a process that waits: the clone, and the talk with its child until it is told to go on.

The container's process is this command's child, and passes to the caller's subreaper when the command ends. It borrows
our memory (`runtime.vfork`) until it becomes `runtime.steps`, which waits for `start` and executes the program: a fork
would be half of what a start takes, in page faults. Hooks, though, are run while it waits on its way, so then it is a
fork; and where the process that clones has to enter namespaces that we must stay out of (user, time), a starter does
it, forked for it: its child is ours all the same (CLONE_PARENT).

A packet of the child's begins with a letter: P at the pivot, R ready, T the terminal's master (a descriptor), D a pid
(the starter's), E an error: its number, 0 where the text says it all, and the text.
"""

from __future__ import annotations

import _socket
import fcntl
import os
from _struct import pack

from dosirak.engine.oci import bundle, finish, hooks
from dosirak.engine.oci.failure import Failure
from dosirak.engine.oci.finish import Listener
from dosirak.engine.runtime import child, container, inroot, process, vfork
from dosirak.engine.runtime import signals as signal
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Socket = _socket.socket
    Prepare = Callable[[], tuple[child.Plan, int]]

_MOST = 1 << 16
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40


class Door:
    """The child's side: where it stops on its way, and which descriptors it keeps."""

    def __init__(self, config: dict[str, Any], sock: Socket, *, fifo: int, preserve: int, keyring: str | None) -> None:
        """Parameters: `config`: config.json, for its hooks; {} for an exec; `sock`: to the command; `fifo`: what it
        waits at before execve, or -1; `preserve`: how many descriptors from 3 on the program gets; `keyring`: the name
        of its session keyring, None for none of its own."""
        self._config, self._sock, self._fifo, self._preserve = config, sock.detach(), fifo, preserve
        self._state: dict[str, Any] = {}
        self.keyring = keyring
        self.affinity: set[int] | None = None
        """CPUs the program may run on."""

    @property
    def socket(self) -> int:
        """Its end of the socket."""
        return self._sock

    @property
    def hooked(self) -> bool:
        """Whether it stops on its way."""
        return needs_pause(self._config)

    def before_pivot(self, root_fd: int) -> None:
        """Namespaces and mounts are there; hooks see them before the old root goes, from where the new one is."""
        spaces = (self._config.get("linux") or {}).get("namespaces") or ()
        if any(entry["type"] == "network" and not entry.get("path") for entry in spaces):
            _raise_loopback()
        for mount in self._config.get("mounts") or ():
            if mount.get(bundle.LATE_READONLY):
                place = inroot.open_in_root(root_fd, mount["destination"], os.O_PATH)
                sys.mount_setattr(place, set_=sys.MOUNT_ATTR_RDONLY)
                os.close(place)
        if needs_pause(self._config):
            self._ask(b"P")
            os.fchdir(root_fd)
            hooks.run(self._config, "createContainer", self._state)

    def finish(self, plan: child.Plan, identity: process.Identity, env: list[str]) -> None:
        """Say that all is ready, wait to be told to go on, run the program. Raises OSError, process.CannotExec."""
        if plan.terminal >= 0:
            self._send(b"T", plan.terminal)
        listener = self._keep_descriptors(plan.stdio, plan.listener)
        # As root first, as runc does: the image may send a user where he could not go himself.
        env = finish.environment(env, identity)
        entered = process.enter_cwd(plan.process.get("cwd") or "/", denied_is_fine=True)
        hooked = bool((self._config.get("hooks") or {}).get("startContainer"))
        waiting = finish.Waiting(-1 if hooked and self._fifo >= 0 else self._sock, self._fifo, told=hooked)
        linux = plan.spec.get("linux") or {}
        found = finish.write(
            *(plan.process, linux, identity, env),
            waiting=waiting,
            filtered=plan.filter,
            entered=entered,
            affinity=self.affinity,
            listener=self._listener(listener, plan.told),
        )
        if hooked:
            self._ask(b"R")
            if self._fifo >= 0:
                os.close(self._sock)  # the command that made us ends now
                self._sock = -1
                os.read(self._fifo, 1)
                os.close(self._fifo)
            hooks.run(self._config, "startContainer", self._state, inside=env)
        finish.execute(found)

    def _listener(self, connection: int, told: bytes) -> Listener | None:
        """What the filter gives has the lowest number that is free by then: all below ours are open, and of ours the
        connection is, and the socket unless there was a fifo to wait at."""
        if connection < 0:
            return None
        first = 3 + self._preserve
        is_open = {connection, *([self._sock] if self._fifo < 0 else [])}
        return Listener(connection, told, next(fd for fd in range(first, first + 3) if fd not in is_open))

    def fail(self, error: BaseException) -> None:
        """Tell why there is no container."""
        told = str(error if isinstance(error, Failure | container.StartError) else container.start_error(error))
        if self._sock < 0:
            os.write(2, f"{told}\n".encode("utf-8", "surrogateescape"))
        else:
            self._send(b"E\0" + told.encode("utf-8", "surrogateescape")[:_MOST])

    def send_pid(self, pid: int) -> None:
        """The starter's word."""
        self._send(b"D%d" % pid)

    def _keep_descriptors(self, stdio: tuple[int, int, int], listener: int) -> int:
        """Streams to 0, 1, 2. What the caller hands on stays; all else is closed but our own two and the `listener`,
        whose new number this returns."""
        first = 3 + self._preserve
        ours = [self._sock, *(fd for fd in (self._fifo, listener) if fd >= 0)]
        sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, first + 3) for fd in (*stdio, *ours)]
        for number, fd in zip((0, 1, 2, first, first + 1, first + 2), sources, strict=False):
            os.dup2(fd, number)  # ours outlive this Python, not `runtime.steps`
        sys.close_range(first + len(ours))
        self._sock, self._fifo = first, first + 1 if self._fifo >= 0 else -1
        return first + len(ours) - 1 if listener >= 0 else -1

    def _ask(self, packet: bytes) -> None:
        self._send(packet)
        data = os.read(self._sock, _MOST)
        if not data:
            os._exit(1)  # the command was killed
        self._state = hooks.unpack(data)

    def _send(self, packet: bytes, fd: int = -1) -> None:
        sock = _socket.socket(fileno=self._sock)
        try:
            if fd >= 0:
                sock.sendmsg([packet], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, "little"))])
            else:
                sock.send(packet)
        finally:
            sock.detach()


def _raise_loopback() -> None:
    """A new network namespace's lo comes up, as with runc and crun (netdevice(7))."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, pack("<16sH22x", b"lo", _IFF_UP | _IFF_RUNNING))
    finally:
        sock.close()


def telling(config: dict[str, Any], **state: Any) -> dict[str, Any]:
    """The document as it is launched: with the container's state, where a listener (linux.seccomp) is to be told it."""
    linux = config["linux"]
    if not (linux.get("seccomp") or {}).get("listenerPath"):
        return config
    return {**config, "linux": {**linux, "seccomp": {**linux["seccomp"], "state": state}}}


def needs_pause(config: dict[str, Any]) -> bool:
    """Whether any hook is to run before the container's root is entered."""
    found = config.get("hooks") or {}
    return any(found.get(kind) for kind in ("prestart", "createRuntime", "createContainer", "startContainer"))


def needs_starter(config: dict[str, Any]) -> bool:
    """Whether the process that clones enters namespaces that this one must stay out of: with another pid namespace, so
    would hooks."""
    entries = config["linux"].get("namespaces") or ()
    joins = any(entry["type"] == "pid" and entry.get("path") for entry in entries)
    return any(entry["type"] in ("user", "time") for entry in entries) or (joins and needs_pause(config))


class Launched:
    """The command's side of a process that is being made."""

    def __init__(self, sock: Socket, pid: int) -> None:
        self._sock = sock
        self.pid = pid
        self.terminal = -1

    def until(self, place: bytes) -> None:
        """Wait until it has come to b"P" (the pivot) or b"R" (ready). Raises Failure: it never will."""
        reached = False
        while not reached or not self.pid:
            data, ancillary, _, _ = self._sock.recvmsg(_MOST, 64, _socket.MSG_CMSG_CLOEXEC)
            if not data:
                raise Failure("unable to start container process: it was killed")
            letter = data[:1]
            if letter == b"E":
                raise Failure(f"unable to start container process: {_told(data)}")
            if letter == b"D":
                self.pid = int(data[1:])
            for _, _, numbers in ancillary:
                self.terminal = int.from_bytes(numbers[:4], "little")
            reached = reached or letter == place

    def go_on(self, state: dict[str, Any]) -> None:
        """Let it; `state` is for its hooks."""
        self._sock.send(hooks.pack(state))

    def set_oom_score(self, process: dict[str, Any]) -> None:
        """From out here: the container's own root might not be allowed to. Raises OSError."""
        if process.get("oomScoreAdj") is not None:
            with open(f"/proc/{self.pid}/oom_score_adj", "wb", buffering=0) as file:
                file.write(b"%d" % process["oomScoreAdj"])

    def until_running(self) -> None:
        """Wait until it runs its program. Raises Failure: it can't."""
        if data := self._sock.recv(_MOST):
            raise Failure(f"unable to start container process: {_told(data)}")
        self._sock.close()

    def end(self) -> None:
        """Kill it, after a failure."""
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


def _told(packet: bytes) -> str:
    text = packet[2:].decode("utf-8", "surrogateescape")
    return f"{text}: {os.strerror(packet[1]).lower()}" if packet[1] else text


def launch(prepare: Prepare, door: Callable[[Socket], Door], *, starter: bool) -> Launched:
    """Begin to make a process. Parameters: `prepare`: its plan and clone flags, called in the process that clones;
    `door`: the child's side of a socket; `starter`: that process is one of its own. Raises Failure."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    if not starter:
        pid = _clone_here(prepare, door(theirs), ours)
        return Launched(ours, pid)
    entrance = door(theirs)
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            _start(prepare, entrance)
        finally:
            os._exit(1)
    os.close(entrance.socket)
    os.waitpid(pid, 0)
    return Launched(ours, 0)


def _clone_here(prepare: Prepare, door: Door, ours: Socket) -> int:
    try:
        plan, flags = prepare()
    except container.StartError as error:
        raise Failure(f"unable to start container process: {error}") from error
    if not plan.process.get("terminal"):
        plan.stdio = (0, 1, 2)
    plan.door = door
    given = (door.socket, *plan.binds, *plan.cgroup_fds, *plan.namespaces.opened)
    failed: BaseException | None = None
    if not door.hooked:
        pid, failed = vfork.spawn(flags, lambda: child.run(plan))
    elif (pid := sys.clone(flags | signal.SIGCHLD)) == 0:
        try:
            ours.close()
            child.run(plan)
        except BaseException as error:
            door.fail(error)
        finally:
            os._exit(1)
    for fd in given:
        os.close(fd)
    if failed is not None:
        os.waitpid(pid, 0)
        told = failed if isinstance(failed, Failure) else container.start_error(failed)
        raise Failure(f"unable to start container process: {told}") from failed
    return pid


def _start(prepare: Prepare, door: Door) -> None:
    try:
        plan, flags = prepare()
        if not plan.process.get("terminal"):
            plan.stdio = (0, 1, 2)
        plan.door = door
        pid = sys.clone(flags | vfork.CLONE_PARENT | signal.SIGCHLD)
        if pid == 0:
            child.run(plan)
        door.send_pid(pid)
        os._exit(0)
    except BaseException as error:
        door.fail(error)
