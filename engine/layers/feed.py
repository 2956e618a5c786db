"""From the event loop to a thread: an async stream of bytes as a blocking file."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from dosirak.engine.layers.threads import outlast, run_thread

if TYPE_CHECKING:
    from typing_extensions import Buffer

Result = TypeVar("Result")

# Bytes that may wait for the thread before the stream is held back.
_HIGH, _LOW = 4 << 20, 1 << 20


class _Feed(io.RawIOBase):
    """The file's side (`readinto`, in the thread) and the loop's side (the rest)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._room = asyncio.Event()
        self._changed = threading.Condition()
        self._chunks: deque[memoryview] = deque()
        self._waiting = 0
        self._ended = False
        self._error: BaseException | None = None

    async def put(self, chunk: bytes) -> None:
        """Hands a chunk over; waits while much is waiting already."""
        with self._changed:
            if chunk:
                self._chunks.append(memoryview(chunk))
            self._waiting += len(chunk)
            full = self._waiting > _HIGH
            if full:
                self._room.clear()
            self._changed.notify()
        if full:
            await self._room.wait()

    def end(self, error: BaseException | None = None) -> None:
        """No more comes; with an error, reading raises OSError."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        with self._changed:
            while not self._chunks and not self._ended:
                self._changed.wait()
            if self._error is not None:
                raise OSError("the stream broke off") from self._error
            done = 0
            while done < len(view) and self._chunks:
                piece = self._chunks[0][: len(view) - done]
                view[done : done + len(piece)] = piece
                done += len(piece)
                if len(piece) == len(self._chunks[0]):
                    self._chunks.popleft()
                else:
                    self._chunks[0] = self._chunks[0][len(piece) :]
            before, self._waiting = self._waiting, self._waiting - done
            if before > _LOW >= self._waiting:
                self._loop.call_soon_threadsafe(self._room.set)
        return done


async def consume(chunks: AsyncIterable[bytes], work: Callable[[BinaryIO], Result]) -> Result:
    """Runs `work(file)` in a thread of its own, with `file` reading what `chunks` yields; returns what `work` returns.

    When the stream fails or the task is cancelled, the file's next read raises OSError in the thread, and `consume`
    returns only after the thread is done: `work` can clean up after itself. When `work` returns or raises before the
    stream ends, the rest of the stream is left unread.
    """
    feed = _Feed(asyncio.get_running_loop())
    working = run_thread(lambda: work(io.BufferedReader(feed, 1 << 20)))
    pumping = asyncio.ensure_future(_pump(chunks, feed))
    try:
        both: list[asyncio.Future[Any]] = [working, pumping]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([working])
    finally:
        # Both are over when this is: after an end of the work the stream is left, after a cancellation the thread.
        pumping.cancel()
        feed.end(asyncio.CancelledError())
        await asyncio.gather(outlast(working), pumping, return_exceptions=True)
        # Looked at here for the loop's sake: when the task was cancelled, nobody asks any more.
        working.exception()
    if not pumping.cancelled() and (failure := pumping.exception()) is not None:
        raise failure
    return working.result()


async def _pump(chunks: AsyncIterable[bytes], feed: _Feed) -> None:
    stream = aiter(chunks)
    try:
        async for chunk in stream:
            await feed.put(chunk)
    except BaseException as error:
        feed.end(error)
        raise
    finally:
        # A generator that is left in the middle would be closed only when the garbage collector finds it.
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    feed.end()
