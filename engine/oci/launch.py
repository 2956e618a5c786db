"""From a plan to a process that waits: the clone, and the talk with its child until it is told to go on.

A starter, forked for it, enters what the process that clones has to enter (user and pid namespaces) and ends; the
container's process is this command's child all the same (CLONE_PARENT), and passes to the caller's subreaper when the
command ends. It is a plain fork, not a borrower of our memory as the service's are (`runtime.vfork`): that one holds
its parent up until it execs, and this one waits for another command, `start`, with no process of ours left.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import signal

from dosirak.engine.oci import hooks
from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import child, container, vfork
from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.supervision import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Door:
    """The child's side: where it stops on its way, and which descriptors it keeps."""

    def __init__(self, config: dict[str, Any], sock: wire.Socket, *, fifo: int, preserve: int) -> None:
        """Parameters: `config`: config.json, for its hooks; {} for an exec; `sock`: to the command; `fifo`: to wait
        at before execve, or -1; `preserve`: how many descriptors from 3 on the program gets."""
        self._config, self._sock, self._fifo, self._preserve = config, sock.detach(), fifo, preserve
        self._state: dict[str, Any] = {}

    def before_pivot(self) -> None:
        """Namespaces and mounts are there; hooks see them before the old root goes."""
        if needs_pause(self._config):
            self._ask({"at": "pivot"})
            self._run_hooks("createContainer")

    def keep_descriptors(self, stdio: tuple[int, int, int], terminal: int) -> None:
        """The terminal's master goes to the command, streams to 0, 1, 2. What the caller hands on stays; all else is
        closed but our own two."""
        if terminal >= 0:
            self._send({}, terminal)
        first = 3 + self._preserve
        ours = (self._sock, *((self._fifo,) if self._fifo >= 0 else ()))
        sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, first + 2) for fd in (*stdio, *ours)]
        for number, fd in zip((0, 1, 2, first, first + 1), sources, strict=False):
            os.dup2(fd, number, inheritable=number < 3)
        sys.close_range(first + len(ours))
        self._sock, self._fifo = first, first + 1 if len(ours) > 1 else -1

    def before_execve(self) -> None:
        """All is ready: say so, and wait to be told to run the program."""
        self._ask({"at": "ready"})
        if self._fifo >= 0:
            os.close(self._sock)  # the command that made us ends now
            self._sock = -1
            os.read(self._fifo, 1)
            os.close(self._fifo)
        self._run_hooks("startContainer")

    def fail(self, error: BaseException) -> None:
        """Tell why there is no container."""
        told = str(error) if isinstance(error, Failure) else str(container.start_error(error))
        if self._sock < 0:
            os.write(2, f"{told}\n".encode("utf-8", "surrogateescape"))
        else:
            self._send({"error": told})

    def _run_hooks(self, kind: str) -> None:
        hooks.run(self._config, kind, self._state)

    def _ask(self, message: dict[str, Any]) -> None:
        self._send(message)
        data = os.read(self._sock, 1 << 16)
        if not data:
            os._exit(1)  # the command was killed
        self._state = wire.unpack(data)

    def _send(self, message: dict[str, Any], fd: int = -1) -> None:
        sock = _socket.socket(fileno=self._sock)
        try:
            wire.send(sock, wire.pack(message), [fd] if fd >= 0 else [])
        finally:
            sock.detach()


def needs_pause(config: dict[str, Any]) -> bool:
    """Whether any hook is to run before the container's root is entered."""
    found = config.get("hooks") or {}
    return any(found.get(kind) for kind in ("prestart", "createRuntime", "createContainer", "startContainer"))


class Launched:
    """The command's side of a process that is being made."""

    def __init__(self, sock: wire.Socket) -> None:
        self._sock = sock
        self.pid = 0
        self.terminal = -1

    def until(self, place: str) -> None:
        """Wait until it has come to "pivot" or "ready". Raises Failure: it never will."""
        reached = False
        while not reached or not self.pid:
            data, fds = wire.receive(self._sock)
            if not data:
                raise Failure("unable to start container process: it was killed")
            message = wire.unpack(data)
            if "error" in message:
                raise Failure(f"unable to start container process: {message['error']}")
            self.pid = message.get("pid") or self.pid
            reached = reached or message.get("at") == place
            if fds:
                self.terminal = fds[0]

    def go_on(self, state: dict[str, Any]) -> None:
        """Let it; `state` is for its hooks."""
        wire.send(self._sock, wire.pack(state))

    def until_running(self) -> None:
        """Wait until it runs its program. Raises Failure: it can't."""
        data, _ = wire.receive(self._sock)
        if data:
            raise Failure(f"unable to start container process: {wire.unpack(data)['error']}")
        self._sock.close()

    def end(self) -> None:
        """Kill it, after a failure."""
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


def launch(
    prepare: Callable[[], tuple[child.Plan, int]], config: dict[str, Any], *, fifo: int = -1, preserve: int = 0
) -> Launched:
    """Begin to make a process. Parameters: `prepare`: its plan and clone flags, in the starter; rest as `Door`."""
    ours, theirs = wire.pair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            _start(prepare, Door(config, theirs, fifo=fifo, preserve=preserve))
        finally:
            os._exit(1)
    theirs.close()
    os.waitpid(pid, 0)
    return Launched(ours)


def _start(prepare: Callable[[], tuple[child.Plan, int]], door: Door) -> None:
    try:
        plan, flags = prepare()
        if not plan.process.get("terminal"):
            plan.stdio = (0, 1, 2)
        plan.door = door
        pid = sys.clone(flags | vfork.CLONE_PARENT | signal.SIGCHLD)
        if pid == 0:
            child.run(plan)
        door._send({"pid": pid})
        os._exit(0)
    except BaseException as error:
        door.fail(error)
