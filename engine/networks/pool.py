"""A few namespaces made ahead, so that a container's start finds one ready. Lives on the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from dosirak.engine.networks.namespaces import Prepared

_LOG = logging.getLogger(__name__)
# Making one takes the network thread 2 ms, so even an empty pool hands out 400 a second; a namespace that waits costs
# the kernel some 300 kB. Four are enough for a notebook's bursts.
SIZE = 4
# Seconds after one was taken until it is replaced: the container that took it is being started just now, and the
# processors and the kernel's link lock are better left to it.
REFILL_DELAY = 0.03


class Pool:
    """Namespaces ready to be joined.

    Parameters: `make` begins to make one (what it makes lands in the pool, so nothing is lost when nobody waits for it
    any more), `size` how many are kept ready.
    """

    def __init__(self, make: Callable[[], asyncio.Future[Prepared]], size: int = SIZE) -> None:
        self._make = make
        self._size = size
        self._ready: deque[Prepared] = deque()
        self._waiters: deque[asyncio.Future[Prepared]] = deque()
        self._making: set[asyncio.Future[Prepared]] = set()
        self._refill_timer: asyncio.TimerHandle | None = None
        self._open = True

    async def take(self) -> Prepared:
        """One of the ready ones, or the next that gets ready. Raises what making one raised."""
        loop = asyncio.get_running_loop()
        if self._open and self._refill_timer is None:
            self._refill_timer = loop.call_later(REFILL_DELAY, self._refill_time)
        if self._ready:
            prepared = self._ready.popleft()
            if not self._ready:
                self._refill()  # or the next one would have to wait
            return prepared
        waiter: asyncio.Future[Prepared] = loop.create_future()
        self._waiters.append(waiter)
        if len(self._making) < len(self._waiters):
            self._begin()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._ready.append(waiter.result())
            raise

    async def drain(self) -> list[Prepared]:
        """Ends the pool; returns what was ready, for the caller to let go of."""
        self._open = False
        if self._refill_timer:
            self._refill_timer.cancel()
            self._refill_timer = None
        while self._making:
            await asyncio.wait(self._making)
            await asyncio.sleep(0)  # lets `_made` run for them
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def _refill_time(self) -> None:
        self._refill_timer = None
        self._refill()

    def _refill(self) -> None:
        """Makes one, and when it is made the next, so that what is awaited never waits for more than one."""
        if self._open and not self._making and len(self._ready) < self._size:
            self._begin()

    def _begin(self) -> None:
        try:
            future = self._make()
        except Exception as error:  # nothing left to make one of (addresses)
            self._fail(error)
            return
        self._making.add(future)
        future.add_done_callback(self._made)

    def _made(self, future: asyncio.Future[Prepared]) -> None:
        self._making.discard(future)
        if future.cancelled():
            return
        error = future.exception()
        if error:
            self._fail(error)
            return
        waiter = self._next_waiter()
        if waiter:
            waiter.set_result(future.result())
        else:
            self._ready.append(future.result())
        if self._refill_timer is None:
            self._refill()

    def _fail(self, error: BaseException) -> None:
        waiter = self._next_waiter()
        if waiter:
            waiter.set_exception(error)
        else:
            _LOG.warning("network namespaces can't be made ahead: %s", error)

    def _next_waiter(self) -> asyncio.Future[Prepared] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None
