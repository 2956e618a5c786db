"""The monitor's event loop: epoll(7) and a few timers, nothing else, so that a monitor stays small."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IN, OUT, GONE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR


class Loop:
    """Calls a handler with the events of its descriptor, and callbacks when their time has come."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        # One cell a registration: its identity tells a descriptor from a later one of the same number.
        self._handlers: dict[int, list[Callable[[int], None]]] = {}
        self._timers: dict[Callable[[], None], float] = {}
        self._stopped = False

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call `handler(events)` when the descriptor is ready; watching it again changes what for."""
        if fd in self._handlers:
            self._poll.modify(fd, events)
            self._handlers[fd][0] = handler
        else:
            self._poll.register(fd, events)
            self._handlers[fd] = [handler]

    def forget(self, fd: int) -> None:
        """Watch the descriptor no more; call before closing it."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call once, so many seconds from now; asking again moves it."""
        self._timers[callback] = time.monotonic() + seconds

    def stop(self) -> None:
        """Make `run` return after the present round."""
        self._stopped = True

    def run(self) -> None:
        """Serve until stopped."""
        while not self._stopped:
            self.turn()

    def turn(self) -> None:
        """Wait for something, and serve it."""
        timeout = -1.0
        if self._timers:
            timeout = max(0.0, min(self._timers.values()) - time.monotonic())
        ready = [(fd, events, self._handlers[fd]) for fd, events in self._poll.poll(timeout)]
        for fd, events, cell in ready:
            # A handler before this one may have closed the descriptor, and another opened one of its number.
            if self._handlers.get(fd) is cell:
                cell[0](events)
        if self._timers:
            self._fire()

    def _fire(self) -> None:
        now = time.monotonic()
        for callback in [callback for callback, due in self._timers.items() if due <= now]:
            del self._timers[callback]
            callback()
