"""One probe: an exec whose output is kept up to a limit and which is killed when it takes too long."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time

from dosirak.engine.containers import execs
from dosirak.engine.containers.documents import ExecConfig
from dosirak.engine.containers.health.model import Result
from dosirak.engine.containers.health.plan import Plan, go_duration
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import EngineError
from dosirak.engine.supervision.model import Attach
from dosirak.engine.supervision.task import Task

_OUTPUT_LIMIT = 4096  # bytes, as in Docker
# Starting an exec is our time, not the probe's: it has a limit of its own.
_START_SECONDS = 30.0
_KILL_SECONDS = 10.0
# What the probe left in the background may hold its output open.
_DRAIN_SECONDS = 1.0
_PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2  # linux/pidfd.h, since 6.9


async def run(room: Room, live: Live, plan: Plan) -> Result:
    """Run the command once. Cancelled, it kills the process first."""
    started = time.time()
    output = _Output()
    try:
        code, words = await _run(room, live, plan, output)
    except (EngineError, TimeoutError) as error:
        code = -1
        words = str(error) or f"timed out starting health check for container {live.record.id}"
    finally:
        output.close()
    return Result(started, time.time(), code, words)


async def _run(room: Room, live: Live, plan: Plan, output: _Output) -> tuple[int, str]:
    if not plan.command:
        return -1, f"healthcheck for container {live.record.id} has no command"
    config = ExecConfig(cmd=list(plan.command), attach_stdout=True, attach_stderr=True)
    exec_id = execs.create(room, live, live.record.id, config)
    found = execs.find(room, exec_id)
    found.kept = 0.0  # nobody asks for it, and there will be many
    client = Attach(output.theirs, framed=False)
    try:
        async with asyncio.timeout(_START_SECONDS):
            await execs.start(room, exec_id, client, None)
    except BaseException:
        room.execs.pop(exec_id, None)
        raise
    task = found.task
    if task is not None:
        try:
            async with asyncio.timeout(plan.timeout):
                await task.wait()
        except TimeoutError:
            await _kill(task)
            said = f": {output.text}" if output.text else ""
            return -1, f"Health check exceeded timeout ({go_duration(plan.timeout)}){said}"
        except asyncio.CancelledError:
            _signal(task)
            raise
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            await output.ended.wait()
    code = found.record.exit_code
    return (-1 if code is None else code), output.text


async def _kill(task: Task) -> None:
    """SIGKILL, and wait: dying probes must not pile up."""
    _signal(task)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_KILL_SECONDS):
            await task.wait()


def _signal(task: Task) -> None:
    """Kill the probe with what it has started: a shell's child would otherwise stay, one more with each probe."""
    if task.pidfd < 0:
        return
    with contextlib.suppress(ProcessLookupError):
        try:
            signal.pidfd_send_signal(task.pidfd, signal.SIGKILL, None, _PIDFD_SIGNAL_PROCESS_GROUP)
        except OSError:
            signal.pidfd_send_signal(task.pidfd, signal.SIGKILL)


class _Output:
    """The probe's output: read to its end so that it never blocks, kept up to the limit."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._kept = bytearray()
        self._cut = False
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._ours.fileno(), self._read)

    def _read(self) -> None:
        try:
            data = self._ours.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._ours.fileno())
            self.ended.set()
            return
        room = _OUTPUT_LIMIT - len(self._kept)
        self._kept += data[:room]
        self._cut = self._cut or len(data) > room

    @property
    def text(self) -> str:
        """What was said; "..." where more was."""
        return self._kept.decode(errors="replace") + ("..." if self._cut else "")

    def close(self) -> None:
        """Leave; the other end is the exec's by now, or is closed with ours."""
        self._loop.remove_reader(self._ours.fileno())
        self._ours.close()
        self.theirs.close()
