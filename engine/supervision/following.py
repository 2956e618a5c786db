"""Reading along with a process's log: when it has grown, and each file of it, before its name has moved on."""

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
        self._present = -1  # the newest file, while somebody reads along

    def follow(self) -> Follower:
        """One more reader. Use as a context manager."""
        return Follower(self)

    def grew(self, seen: int) -> None:
        """The log has grown; `seen`: the monitor's number for that."""
        self._seen = seen
        self._grew.set()

    def rotated(self, fd: int) -> None:
        """There is a new log file; -1: its descriptor did not come through."""
        if fd < 0:
            self.missed()
        elif not self._followers or (self._present >= 0 and os.path.sameopenfile(fd, self._present)):
            os.close(fd)  # left over from earlier readers: whoever begins to follow is passed the present one
        else:
            self._forget_present()
            self._present = fd
            for follower in self._followers:
                follower.take(fd)

    def missed(self) -> None:
        """There was a new log file that could not be passed."""
        for follower in self._followers:
            follower.missed = True

    def _forget_present(self) -> None:
        if self._present >= 0:
            os.close(self._present)
            self._present = -1

    def end(self) -> None:
        """The process has ended, with the log flushed."""
        self._ended = True
        self._forget_present()
        self.grew(self._seen + 1)

    async def join(self, follower: Follower) -> None:
        """From the return on, the follower gets the file that is the newest now, and then every new one."""
        first = not self._followers
        self._followers.add(follower)
        if self._present >= 0:
            follower.take(self._present)
        if first and not self._ended:
            with contextlib.suppress(TimeoutError, ProcessLookupError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._ask(-1)

    def leave(self, follower: Follower) -> None:
        """It reads no more."""
        if follower in self._followers:
            self._followers.remove(follower)
            if not self._followers and not self._ended:
                self._forget_present()
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

    `files`: descriptors of the log's files since then, the oldest first; whoever takes one closes it. `missed`: some
    are not among them.
    """

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        self._seen = -1
        self._joined = False
        self.files: deque[int] = deque()
        self.missed = False

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self._growth.leave(self)
        while self.files:
            os.close(self.files.popleft())

    def take(self, fd: int) -> None:
        """One more file: a duplicate of it."""
        try:
            if len(self.files) < _MOST_FILES:
                self.files.append(os.dup(fd))
                return
        except OSError:  # no descriptor left
            pass
        self.missed = True

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> None:
        if not self._joined:
            self._joined = True
            await self._growth.join(self)
        self._seen = await self._growth.beyond(self._seen)
        if self._seen < 0:
            raise StopAsyncIteration
