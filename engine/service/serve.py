"""The service's main loop: engine up, API open, until a signal or idleness ends it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dosirak.engine.errors import printable
from dosirak.engine.service.engine import Engine

if TYPE_CHECKING:
    import socket

    from dosirak.engine.api.server import Api
    from dosirak.engine.rootless import Line
    from dosirak.engine.settings import Settings

log = logging.getLogger("dosirak.service")


def run(settings: Settings, listener: socket.socket, ready: Callable[[], None], keeper: Line | None = None) -> None:
    """Serve on `listener` until ended; `ready` is called when requests are answered. Raises EngineError.

    Parameters: `keeper`: of the user namespace that this process has entered (`rootless`).
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Lines("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # Start-up only allocates what stays: collecting meanwhile is wasted, and later collections need not look at it.
    gc.disable()
    asyncio.run(_Service(settings, listener, ready, keeper).run())


class Lines(logging.Formatter):
    """One line a record: a client's words (a path, a name) make none of their own. A traceback's lines are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Called by `format` for what stands in the line."""
        record.message = printable(record.message).replace("\n", "\\n")
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """Called by `format` for what follows it."""
        return "\n".join("  " + printable(line) for line in super().formatException(ei).splitlines())


class _Service:
    def __init__(
        self, settings: Settings, listener: socket.socket, ready: Callable[[], None], keeper: Line | None
    ) -> None:
        self._settings = settings
        self._keeper = keeper
        self._listener = listener
        self._ready = ready
        self._ended = asyncio.Event()
        self._last_busy = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._end)
        engine = Engine(self._settings, self._keeper)
        try:
            await engine.start()
            from dosirak.engine.api.server import Api

            api = Api(engine.rooms)
            await api.listen(self._listener)
        except BaseException:
            self._withdraw()
            raise
        gc.freeze()
        gc.enable()
        log.info("listening on %s", self._settings.socket)
        self._ready()
        try:
            await self._until_ended(engine, api)
        finally:
            self._withdraw()
            engine.end_streams()
            await api.close()
            await engine.close()
            log.info("ended")

    def _end(self) -> None:
        """A signal: end politely; the second one, if that takes too long for somebody, at once (containers run on)."""
        if self._ended.is_set():
            self._withdraw()
            os._exit(1)
        self._ended.set()

    async def _until_ended(self, engine: Engine, api: Api) -> None:
        """Wait for a signal, or for `idle_timeout` seconds in which nothing was asked and nothing ran."""
        limit = self._settings.idle_timeout
        while not self._ended.is_set():
            busy = api.active or engine.busy
            quiet = 0.0 if busy else time.monotonic() - max(api.last_used, self._last_busy)
            if busy:
                self._last_busy = time.monotonic()
            if quiet >= limit and await self._unwanted(api):
                log.info("idle for %.0f s", quiet)
                return
            try:
                async with asyncio.timeout(min(max(limit - quiet, 0.05), 15.0)):
                    await self._ended.wait()
            except TimeoutError:
                pass

    async def _unwanted(self, api: Api) -> bool:
        """Close the door, then look once more: whoever had knocked before it closed must still be answered."""
        self._withdraw()
        before = api.arrivals
        await asyncio.sleep(0.02)
        if not api.active and api.arrivals == before:
            return True
        # Somebody came in meanwhile: open the door again and go on.
        from dosirak.engine.service import process

        self._listener = process.listen(self._settings.socket)
        await api.listen(self._listener)
        return False

    def _withdraw(self) -> None:
        """Take the socket away, so that new clients start a new service and don't wait for this one."""
        self._settings.socket.unlink(missing_ok=True)
