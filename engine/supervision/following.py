"""Reading along with a process's log: when it has grown, and each new file of it, before its name has moved on."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# So many files wait for a reader that is slower than its log. What then comes and goes by its name is lost to it, as in
# Docker.
_MOST_FILES = 1000
# Seconds in which a monitor answers, unless it is stopped.
_ANSWER_SECONDS = 1.0


class Growth:
    """What a monitor tells of its process's log, for all who read along."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        """Parameters: `send`: tells the monitor something; raises ProcessLookupError when it is gone."""
        self._send = send
        self._seen = 0
        self._grew = asyncio.Event()
        self._ended = False
        self._followers: set[Follower] = set()

    def follow(self) -> Follower:
        """One more reader. Use as a context manager."""
        return Follower(self)

    def grew(self, seen: int) -> None:
        """The log has grown; `seen`: the monitor's number for that."""
        self._seen = seen
        self._grew.set()

    def rotated(self, fd: int) -> None:
        """There is a new log file."""
        for follower in self._followers:
            with contextlib.suppress(OSError):  # no descriptor left
                follower.take(os.dup(fd))
        os.close(fd)

    def end(self) -> None:
        """The process has ended, with the log flushed."""
        self._ended = True
        self.grew(self._seen + 1)

    async def join(self, follower: Follower) -> None:
        """From the return on, the follower gets every new file."""
        first = not self._followers
        self._followers.add(follower)
        if first and not self._ended:
            with contextlib.suppress(TimeoutError, ProcessLookupError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._ask(-1)

    def leave(self, follower: Follower) -> None:
        """It reads no more."""
        if follower in self._followers:
            self._followers.remove(follower)
            if not self._followers and not self._ended:
                with contextlib.suppress(ProcessLookupError):
                    self._send({"op": "unfollow"})

    async def beyond(self, seen: int) -> int:
        """Wait until the log has grown since `seen`: the new number, or -1 when it will not any more."""
        while seen == self._seen:
            if self._ended:
                return -1
            with contextlib.suppress(ProcessLookupError):
                await self._ask(self._seen)
        return self._seen

    async def _ask(self, seen: int) -> None:
        self._grew.clear()
        self._send({"op": "follow", "seen": seen})
        await self._grew.wait()


class Follower:
    """An asynchronous iterator: yields at once, then whenever the log has grown; ends with the process.

    `files`: descriptors of the log's files since then, the oldest first; whoever takes one closes it.
    """

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        self._seen = -1
        self._joined = False
        self.files: deque[int] = deque()

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self._growth.leave(self)
        while self.files:
            os.close(self.files.popleft())

    def take(self, fd: int) -> None:
        """One more file."""
        if len(self.files) < _MOST_FILES:
            self.files.append(fd)
        else:
            os.close(fd)

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> None:
        if not self._joined:
            self._joined = True
            await self._growth.join(self)
        self._seen = await self._growth.beyond(self._seen)
        if self._seen < 0:
            raise StopAsyncIteration
