"""The network thread: the only one that changes namespaces, talks rtnetlink and owns the libnftables context.

Jobs run one after another in the order they were handed in, so a port withdrawn before it is published again ends up
published. The thread starts with its first job: a service without networks has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Concatenate, ParamSpec, TypeVar

from dosirak.engine.networks.claims import Claims
from dosirak.engine.networks.firewall import Firewall
from dosirak.engine.networks.home import Home
from dosirak.engine.networks.namespaces import Namespaces
from dosirak.engine.networks.netlink import Netlink

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Kernel:
    """What a job works with: rtnetlink, the maker of namespaces, the engine's rules and its hold on bridges."""

    def __init__(self, table: str) -> None:
        self.netlink = Netlink()
        self.namespaces = Namespaces(self.netlink)
        self.firewall = Firewall(table)
        self.claims = Claims()

    def close(self) -> None:
        """Lets go of everything; what was made in the kernel stays."""
        self.claims.close()
        self.firewall.close()
        self.namespaces.close()
        self.netlink.close()


class Worker:
    """The thread and its queue. Called from the event loop's thread."""

    def __init__(self, table: str, home: Home | None = None) -> None:
        """Parameters: `home`: the network namespace it works in, if not this process's own."""
        self._table, self._home = table, home or Home()
        self._jobs: SimpleQueue[Callable[[Kernel | Exception], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(
        self, job: Callable[Concatenate[Kernel, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_T]:
        """Queues `job(kernel, *args)`; the future gives its result. Cancelling the future doesn't stop the job."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def run(kernel: Kernel | Exception) -> None:
            try:
                if isinstance(kernel, Exception):
                    raise kernel
                result = job(kernel, *args, **kwargs)
            except Exception as error:  # handed on to whoever awaits
                _call(loop, _fail, future, error)
            else:
                _call(loop, _succeed, future, result)

        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dosirak-networks", daemon=True)
            self._thread.start()
        self._jobs.put(run)
        return future

    async def stop(self) -> None:
        """Ends the thread after the jobs handed in so far."""
        if self._thread:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _run(self) -> None:
        try:
            self._home.enter()
            kernel: Kernel | Exception = Kernel(self._table)
        except Exception as error:  # each job fails with it
            kernel = error
        while (job := self._jobs.get()) is not None:
            job(kernel)
        if isinstance(kernel, Kernel):
            kernel.close()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(function, *args)


def _succeed(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[_T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
