"""A process under a monitor, as the service sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from dosirak.engine.supervision import monitor
from dosirak.engine.supervision.conversation import Conversation
from dosirak.engine.supervision.entries import attach_entry, restart_entry
from dosirak.engine.supervision.following import Follower, Growth
from dosirak.engine.supervision.model import Attach, Exit, Restart


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
        entry = {"op": "attach", **attach_entry(client), "initial": b""}
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
            self._conversation.send({"op": "policy", "restart": restart_entry(restart)})

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
        noted = read_exit(self._bundle) if self._bundle is not None else None
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


def read_exit(bundle: Path) -> Exit | None:
    """How the last process of a bundle ended, as its monitor noted; None where it did not."""
    try:
        return msgspec.json.decode((bundle / monitor.EXIT_FILE).read_bytes(), type=Exit)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _exit(message: dict[str, Any]) -> Exit:
    return Exit(message["code"], message["oom"], message["at"], message["error"], message["restarts"])
