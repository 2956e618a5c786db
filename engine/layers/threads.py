"""Blocking work beside the event loop. A thread can't be stopped: whoever starts one here waits until it is done."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    """As asyncio.to_thread, but a cancellation waits for the thread's end.

    What the work leaves can then be cleaned up: nothing of it appears after the clean-up.
    """
    working = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    await outlast(working)
    return working.result()


def run_thread(work: Callable[[], Result]) -> asyncio.Future[Result]:
    """Runs `work` in a thread of its own: one that may wait long must not occupy a place in the loop's pool."""
    result: concurrent.futures.Future[Result] = concurrent.futures.Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    # The future must not be cancellable: nobody can stop a thread.
    result.set_running_or_notify_cancel()
    threading.Thread(target=run, name="dosirak-stream", daemon=True).start()
    return asyncio.wrap_future(result)


async def outlast(work: asyncio.Future[Result]) -> None:
    """Waits until `work` is done, also when cancelled meanwhile; then raises the cancellation."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Looked at for the loop's sake: nobody asks any more.
        work.exception()
        raise cancelled
