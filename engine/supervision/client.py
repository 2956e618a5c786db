"""The service's side of the runtime: starts the launcher, asks it for launches, and stands for running processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from dosirak.engine.errors import HostLimit, StartFailed
from dosirak.engine.runtime import init
from dosirak.engine.supervision import launcher, monitor, starter, wire
from dosirak.engine.supervision.conversation import Conversation, connect
from dosirak.engine.supervision.following import Follower, Growth
from dosirak.engine.supervision.model import NOTHING_KNOWN, Attach, Exit, Known, Launch, LogFile, Restart

# Seconds in which a monitor answers a service that comes up; it takes milliseconds unless it is stopped.
_ANSWER_SECONDS = 2.0


class Task:
    """A process under a monitor. `pid` and `pidfd` change when the monitor restarts it.

    `network_fd`: of one that was taken over between two runs, the network namespace that waits for the next (-1: the
    host's, or it runs). Whoever takes it over closes it.
    """

    def __init__(
        self, conversation: Conversation, started: dict[str, Any], pidfd: int, bundle: Path | None = None
    ) -> None:
        """Parameters: `bundle`: where its end is noted; None for an exec, whose end is told only."""
        self._conversation, self._bundle = conversation, bundle
        self.pid: int = started["pid"]
        self.pidfd = pidfd
        self.started_at: float = started["at"]
        self.restarts: int = started["restarts"]
        self.exit: Exit | None = None
        self.network_fd = -1
        self.on_exit: Callable[[Exit, bool], None] | None = None
        self.on_restart: Callable[[], None] | None = None
        self.on_detach: Callable[[], None] | None = None
        self._ended = asyncio.get_running_loop().create_future()
        self._growth = Growth(conversation.send)
        conversation.listen(self._hear)

    @property
    def exited(self) -> bool:
        """Whether it has ended for good."""
        return self.exit is not None

    @property
    def ending(self) -> bool:
        """Whether its process is not there, as far as the kernel knows: its end may not have been told yet."""
        if self.pidfd < 0:
            return True
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    async def wait(self) -> Exit:
        """The final end (restarts by policy do not count)."""
        result: Exit = await asyncio.shield(self._ended)
        return result

    def kill(self, number: int) -> None:
        """Send a signal to the process. Raises ProcessLookupError when it is gone, OSError (no descriptor left)."""
        if self.pidfd < 0 and self.pid:
            # The kernel drops a message's descriptors when the receiver has as many as it may. The number is still the
            # process's: the monitor reaps it and tells so, and what it has told by now is read here.
            self.pidfd = os.pidfd_open(self.pid)
            self._conversation.catch_up()
        if self.pidfd < 0:
            raise ProcessLookupError(3, "the process has ended")
        signal.pidfd_send_signal(self.pidfd, number)

    async def resize(self, rows: int, columns: int) -> None:
        """Size of the terminal, in characters."""
        self._conversation.send({"op": "resize", "rows": rows, "columns": columns})

    async def attach(self, client: Attach) -> None:
        """Add a stream client; its sockets are the monitor's from now on. Raises ProcessLookupError."""
        entry = {"op": "attach", **_attach_entry(client), "initial": b""}
        given = [sock.fileno() for sock in client.sockets]
        fds = []
        try:
            if client.initial:
                # A message has a limit; what was read ahead of an HTTP request has none.
                fds.append(os.memfd_create("initial", os.MFD_CLOEXEC))
                os.write(fds[0], client.initial)
            self._conversation.send(entry, [*given, *fds])
        finally:
            client.close()
            for fd in fds:
                os.close(fd)

    def follow_log(self) -> Follower:
        """Reads along with the log: yields at once, then whenever it has grown; ends with the process."""
        return self._growth.follow()

    async def stop_restarting(self) -> None:
        """No restart by policy any more: the next end is final."""
        with contextlib.suppress(ProcessLookupError):
            self._conversation.send({"op": "no_restart"})

    def set_restart(self, restart: Restart) -> None:
        """Another restart policy from now on (`docker update --restart`)."""
        with contextlib.suppress(ProcessLookupError):
            self._conversation.send({"op": "policy", "restart": _restart_entry(restart)})

    async def gone(self) -> None:
        """The monitor itself has ended too, and with it the container's cgroup."""
        await self._conversation.closed.wait()

    def _hear(self, message: dict[str, Any] | None, fd: int) -> None:
        """A message of the monitor; None when it is gone."""
        if message is None:
            if self.exit is None:
                self._finish(self._untold_end())
            return
        event = message["event"]
        if event == "log":
            if message.get("missed"):
                self._growth.missed()
            self._growth.grew(message["seen"])
        elif event == "detached":
            if self.on_detach:
                self.on_detach()
        elif event == "rotated":
            self._growth.rotated(fd)
        elif event == "exited":
            self._finish(_exit(message))
        elif event == "restarting":
            self._set_pid(0, -1)
            if self.on_exit:
                self.on_exit(_exit(message), True)
        elif event == "started":
            again = message["pid"] != self.pid
            self._set_pid(message["pid"], fd)
            self.started_at, self.restarts = message["at"], message["restarts"]
            if again and self.on_restart:
                self.on_restart()

    def _untold_end(self) -> Exit:
        """The monitor is gone without a word: we did not read for too long, or it was killed, which takes the process
        with it (PR_SET_PDEATHSIG)."""
        noted = _read_exit(self._bundle) if self._bundle is not None else None
        if noted is not None:
            return noted  # of this run: a start removes an earlier one's
        return Exit(128 + signal.SIGKILL, False, time.time(), "the container's monitor was killed", lost=True)

    def _finish(self, end: Exit) -> None:
        self.exit = end
        self._set_pid(0, -1)
        self._growth.end()
        self._ended.set_result(end)
        if self.on_exit:
            self.on_exit(end, False)

    def _set_pid(self, pid: int, pidfd: int) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pid, self.pidfd = pid, pidfd


class Launcher:
    """The launcher process, restarted when it was killed."""

    def __init__(self) -> None:
        self._requests: dict[str, socket.socket] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._last: dict[Path, Conversation] = {}

    async def start(self) -> None:
        """Start the launcher. Raises HostLimit."""
        pairs = {kind: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for kind in ("create", "exec")}
        fds = [theirs.fileno() for _, theirs in pairs.values()]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-S", "-E", "-I", launcher.__file__, *map(str, fds)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=fds,
                env={},
                start_new_session=True,
            )
        except OSError as error:
            raise HostLimit(f"launcher: can't start {sys.executable}: {error.strerror}") from error
        finally:
            for _, theirs in pairs.values():
                theirs.close()
        self._requests = {kind: ours for kind, (ours, _) in pairs.items()}
        for ours in self._requests.values():
            ours.setblocking(False)

    async def close(self) -> None:
        """End the launcher; running containers stay."""
        for requests in self._requests.values():
            requests.close()
        self._requests = {}
        if self._process is not None:
            await self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        """The launcher's pid, 0 when it is not running."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def launch(self, launch: Launch) -> Task:
        """Start a container's process: returns once it has exec'd. Raises StartFailed, HostLimit."""
        previous = self._last.get(launch.bundle)
        if previous is not None:
            await previous.closed.wait()  # it still owns the cgroup and the control socket
        spec = {"spec": launch.spec} if launch.spec is not None else {}
        return await self._ask(launch, {"op": "create", **spec}, None)

    async def exec(self, launch: Launch, pidfd: int, process: dict[str, Any], spec: dict[str, Any]) -> Task:
        """Start a further process in the container whose first process `pidfd` names.

        `process` is an OCI process object; `spec`: of the container's document `annotations` and of `linux`
        `namespaces`, `cgroupsPath`, `seccomp`. Raises StartFailed, HostLimit.
        """
        if pidfd < 0:
            raise StartFailed(_words("the container has ended", "exec"), 128)
        return await self._ask(launch, {"op": "exec", "process": process, "spec": spec}, pidfd)

    async def adopt(self, bundle: Path, known: Callable[[], Known] = lambda: NOTHING_KNOWN) -> Task | Exit | None:
        """What became of a launch of an earlier service: running (Task), ended (Exit) or no trace (None).

        Parameters: `known`: what the service knows of the process, asked for if its monitor lives and does not answer
        (it is stopped); the task then begins with that, and learns the truth when the monitor goes on.
        """
        conversation = connect(bundle)
        if conversation is None:
            return _read_exit(bundle)
        try:
            message, fd = await asyncio.wait_for(conversation.first(), _ANSWER_SECONDS)
        except TimeoutError:
            conversation.first_is_late()
            what = known()
            self._remember(bundle, conversation)
            return Task(conversation, {"pid": what.pid, "at": what.at, "restarts": what.restarts}, what.pidfd, bundle)
        if message is None:
            return _read_exit(bundle)
        self._remember(bundle, conversation)
        if message["event"] != "restarting":
            return Task(conversation, message, fd, bundle)
        waiting = {"pid": 0, "at": message["at"], "restarts": message["restarts"]}
        task = Task(conversation, waiting, -1, bundle)
        task.network_fd = fd
        return task

    async def _ask(self, launch: Launch, request: dict[str, Any], pidfd: int | None) -> Task:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            for client in launch.attach:
                client.close()
            raise
        conversation = Conversation(ours)
        own = []
        try:
            clients = [sock.fileno() for client in launch.attach for sock in client.sockets]
            fds = [theirs.fileno(), *clients, *launch.join.values()]
            if launch.filter is not None:
                fds.append(launch.filter.fileno())
            if launch.init:
                own = [init.open_program()]
            fds += own
            if pidfd is not None:
                fds.append(pidfd)
            await self._send(request["op"], wire.pack({**request, **_launch_entry(launch)}), fds)
        except BaseException:
            conversation.close()
            raise
        finally:
            theirs.close()
            for client in launch.attach:
                client.close()
            for fd in own:
                os.close(fd)
        try:
            if launch.meanwhile is not None:
                await _do_meanwhile(launch.meanwhile, conversation)
            message, fd = await conversation.first()
        except asyncio.CancelledError:
            if pidfd is None:
                self._remember(launch.bundle, conversation)
            conversation.abandon()
            raise
        if message is None:
            raise HostLimit(f"{launch.id[:12]}: the launcher ended while it started the container; start it again")
        if message["event"] == "failed":
            kind = "exec" if pidfd is not None else "create"
            raise StartFailed(_words(message["error"], kind), message["code"])
        if pidfd is None:
            self._remember(launch.bundle, conversation)
        return Task(conversation, message, fd, launch.bundle if pidfd is None else None)

    def _remember(self, bundle: Path, conversation: Conversation) -> None:
        if conversation.closed.is_set():
            return
        self._last[bundle] = conversation

        def forget() -> None:
            if self._last.get(bundle) is conversation:
                del self._last[bundle]

        conversation.on_close = forget

    async def _send(self, kind: str, request: bytes, fds: list[int]) -> None:
        for _ in range(2):
            async with self._starting:
                if not self.pid:
                    await self._restart()
                requests = self._requests[kind]
            try:
                await self._send_message(requests, request, fds)
                return
            except (BrokenPipeError, ConnectionResetError):
                async with self._starting:
                    if self._requests.get(kind) is requests:  # else somebody else was faster
                        await self._restart()
        raise HostLimit("launcher: ends as soon as it is started; see the service's log")

    async def _send_message(self, requests: socket.socket, request: bytes, fds: list[int]) -> None:
        while True:
            try:
                wire.send_long(requests, request, fds)
                return
            except BlockingIOError:
                await asyncio.sleep(0.001)  # a burst beyond the socket's buffer
            except (BrokenPipeError, ConnectionResetError):
                raise
            except OSError as error:
                if requests.fileno() < 0:  # closed meanwhile, by who started a new launcher
                    raise BrokenPipeError from error
                # More descriptors than a message takes (unix(7), SCM_MAX_FD).
                raise HostLimit(f"launcher: can't ask for a launch: {error.strerror}") from error

    async def _restart(self) -> None:
        await self.close()
        await self.start()


async def _do_meanwhile(meanwhile: Callable[[], None], conversation: Conversation) -> None:
    """The monitor waits for a word. Raises what `meanwhile` does; nothing of the start is left then."""
    try:
        meanwhile()
    except BaseException:
        _say(conversation, starter.NO)
        await conversation.closed.wait()
        raise
    _say(conversation, starter.GO)


def _say(conversation: Conversation, word: bytes) -> None:
    with contextlib.suppress(ProcessLookupError):
        conversation.say(word)


def _attach_entry(client: Attach) -> dict[str, Any]:
    return {
        "stdin": client.stdin,
        "stdout": client.stdout,
        "stderr": client.stderr,
        "framed": client.framed,
        "detach_keys": client.detach_keys,
        "initial": client.initial,
        "gate": client.gate is not None,
    }


def _launch_entry(launch: Launch) -> dict[str, Any]:
    return {
        "id": launch.id,
        "bundle": str(launch.bundle),
        "log": _log_entry(launch.log) if launch.log else None,
        "stdin": launch.stdin,
        "stdin_once": launch.stdin_once,
        "init": launch.init,
        "attach": [_attach_entry(client) for client in launch.attach],
        "join": list(launch.join),
        "filter": launch.filter is not None,
        "restart": _restart_entry(launch.restart),
        "size": launch.size or (0, 0),
        "gated": launch.meanwhile is not None,
    }


def _log_entry(log: LogFile) -> dict[str, Any]:
    return {
        "driver": log.driver,
        "path": str(log.path),
        "max_size": log.max_size,
        "max_files": log.max_files,
        "compress": log.compress,
        "attributes": log.attributes,
    }


def _restart_entry(restart: Restart) -> dict[str, Any]:
    return {"policy": restart.policy, "max_retries": restart.max_retries, "restarts": restart.restarts}


def _words(error: str, kind: str) -> str:
    """Docker's sentence around the runtime's reason; clients look for its parts."""
    if error.startswith(("unable to find user", "unable to find group")):
        return error  # its daemon finds that out itself
    if error.startswith("mounting ") and "not a directory" in error:
        error += (
            ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path "
            "exists and is the expected type"
        )
    if kind == "exec":
        return f"OCI runtime exec failed: exec failed: unable to start container process: {error}: unknown"
    return (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        f"dosirak create failed: unable to start container process: error during container init: {error}: unknown"
    )


def _exit(message: dict[str, Any]) -> Exit:
    return Exit(message["code"], message["oom"], message["at"], message["error"], message["restarts"])


def _read_exit(bundle: Path) -> Exit | None:
    try:
        return msgspec.json.decode((bundle / monitor.EXIT_FILE).read_bytes(), type=Exit)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
