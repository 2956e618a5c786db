"""Blocking work in a thread that a cancelled build can stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from dosirak.engine.layers.threads import outlast

Result = TypeVar("Result")


class Stop:
    """Asked between pieces of blocking work: `check()` raises Stopped once the work is not wanted any more."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """From now on `check` raises."""
        self._event.set()

    def check(self) -> None:
        """Raises Stopped when the build was cancelled."""
        if self._event.is_set():
            raise Stopped


class Stopped(Exception):
    """The work was given up because its build was cancelled."""


async def in_thread(work: Callable[[Stop], Result]) -> Result:
    """Runs `work(stop)` in a thread.

    When the task is cancelled, `stop` is set and the thread awaited: nothing of the work goes on behind its back.
    """
    stop = Stop()
    task = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await outlast(task)
        task.exception()  # looked at: it is Stopped, or of no interest any more
        raise
