"""The service's side of the launcher: starts it, and asks it for launches."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dosirak.engine.errors import HostLimit, StartFailed
from dosirak.engine.runtime import init
from dosirak.engine.supervision import launcher, starter, wire
from dosirak.engine.supervision.conversation import Conversation, connect
from dosirak.engine.supervision.entries import launch_entry
from dosirak.engine.supervision.model import NOTHING_KNOWN, Exit, Known, Launch
from dosirak.engine.supervision.task import Task, read_exit

# Seconds in which a monitor answers a service that comes up; it takes milliseconds unless it is stopped.
_ANSWER_SECONDS = 2.0


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
            return read_exit(bundle)
        try:
            message, fd = await asyncio.wait_for(conversation.first(), _ANSWER_SECONDS)
        except TimeoutError:
            conversation.first_is_late()
            what = known()
            self._remember(bundle, conversation)
            return Task(conversation, {"pid": what.pid, "at": what.at, "restarts": what.restarts}, what.pidfd, bundle)
        if message is None:
            return read_exit(bundle)
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
            await self._send(request["op"], wire.pack({**request, **launch_entry(launch)}), fds)
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
