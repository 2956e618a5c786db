"""A container as the service holds it in memory: its record, and what no record can hold."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dosirak.engine.containers.model import Container, Exec, WaitResult

if TYPE_CHECKING:
    from dosirak.engine.containers.health.watch import Watch
    from dosirak.engine.supervision.model import Attach
    from dosirak.engine.supervision.task import Task


class LiveExec:
    """One `docker exec`: its record and, while it runs, its task; `started` is set when its start has gone one way.

    `kept`: seconds for which it can be inspected once it has ended (Docker: five to ten minutes).
    """

    __slots__ = ("kept", "record", "started", "task")

    def __init__(self, record: Exec) -> None:
        self.record = record
        self.task: Task | None = None
        self.started = asyncio.Event()
        self.kept = 600.0


class Live:
    """One container.

    `lock` is held over every change of state that awaits (start, the handling of an end, removal), never while waiting
    for the process: signals and waits need no lock. `task` is set while the process runs. `attaches` wait for the next
    start, which itself waits for clients that are on their way (`expecting`). `by_hand`: a restart is under way, so the
    end in its middle removes nothing. `delay`: seconds before its last start by policy, where that is the service's;
    `coming_back`: it waits so long. `watch`: its health check, while it runs. `signals` counts those that were sent.
    """

    __slots__ = (
        "_expected",
        "_expected_come",
        "_launched",
        "attaches",
        "by_hand",
        "coming_back",
        "delay",
        "lock",
        "record",
        "removed_waiters",
        "signals",
        "stop_waiters",
        "task",
        "watch",
    )

    def __init__(self, record: Container) -> None:
        self.record = record
        self.lock = asyncio.Lock()
        self.task: Task | None = None
        self.attaches: list[Attach] = []
        self.by_hand = False
        self.delay = 0.0
        self.coming_back = False
        self.watch: Watch | None = None
        self.signals = 0
        self._expected = 0
        self._expected_come = asyncio.Event()
        self._expected_come.set()
        self._launched = asyncio.Event()
        self._launched.set()
        # not-running and next-exit; removed
        self.stop_waiters: set[asyncio.Future[WaitResult]] = set()
        self.removed_waiters: set[asyncio.Future[WaitResult]] = set()

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Inside, a client is on its way to attach."""
        self._expected += 1
        self._expected_come.clear()
        try:
            yield
        finally:
            self._expected -= 1
            if not self._expected:
                self._expected_come.set()

    async def expected_come(self) -> None:
        """Returns when no client is on its way to attach."""
        await self._expected_come.wait()

    @contextmanager
    def launching(self) -> Iterator[None]:
        """Inside, a launch is under way, whose clients have been chosen."""
        self._launched.clear()
        try:
            yield
        finally:
            self._launched.set()

    async def launched(self) -> None:
        """Returns when no launch is under way."""
        while not self._launched.is_set():
            await self._launched.wait()

    def wait_stop(self) -> asyncio.Future[WaitResult]:
        """Done at the next end (or removal) of the container."""
        return _add(self.stop_waiters)

    def wait_removed(self) -> asyncio.Future[WaitResult]:
        """Done when the container has been removed."""
        return _add(self.removed_waiters)

    def result(self) -> WaitResult:
        """How the last run ended."""
        return WaitResult(self.record.state.exit_code, self.record.state.error)

    def stopped(self) -> None:
        """Wake those who wait for the end."""
        _wake(self.stop_waiters, self.result())

    def removed(self) -> None:
        """Wake everybody: a container may be removed without ever having run. A removal that worked has no error."""
        result = WaitResult(self.record.state.exit_code)
        _wake(self.stop_waiters, result)
        _wake(self.removed_waiters, result)

    def not_removed(self, error: str) -> None:
        """Tell those who wait for the removal that it failed."""
        _wake(self.removed_waiters, WaitResult(self.record.state.exit_code, error))

    def drop_attaches(self) -> None:
        """Let clients go who wait for a start that will not come."""
        for client in self.attaches:
            client.close()
        self.attaches.clear()


def alive(pidfd: int) -> bool:
    """Whether the process that a pidfd names has not ended yet."""
    if pidfd < 0:
        return False
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)


def _add(waiters: set[asyncio.Future[WaitResult]]) -> asyncio.Future[WaitResult]:
    future: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
    waiters.add(future)
    future.add_done_callback(waiters.discard)
    return future


def _wake(waiters: set[asyncio.Future[WaitResult]], result: WaitResult) -> None:
    for future in list(waiters):
        if not future.done():
            future.set_result(result)
