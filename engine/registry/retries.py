"""Trying again: what passes is waited for, longer each time, as long as the registry asks but within bounds."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dosirak.engine.registry.errors import RegistryError, Unreachable

Result = TypeVar("Result")

TRIES = 4
_FIRST_PAUSE = 0.5
LONGEST_PAUSE = 20.0
"""Seconds between tries. A registry that asks for more patience than the longest gets none: a person decides."""


class Tries:
    """One row of tries, of at most `most`. `waiting` is told the seconds before each pause."""

    def __init__(self, waiting: Callable[[float], None] = lambda _: None, most: int = TRIES) -> None:
        self._waiting = waiting
        self._most = most
        self._count = 0

    def begin_anew(self) -> None:
        """The last try got somewhere: the row begins again."""
        self._count = 0

    async def pause(self, error: Unreachable | RegistryError) -> None:
        """Waits before another try; raises the error when it does not pass, or was tried often enough."""
        self._count += 1
        if self._count >= self._most or not error.passes:
            raise error
        after = error.retry_after if isinstance(error, RegistryError) else 0.0
        if after > LONGEST_PAUSE:
            raise error
        seconds = min(max(after, _FIRST_PAUSE * 2 ** (self._count - 1)), LONGEST_PAUSE)
        self._waiting(seconds)
        await asyncio.sleep(seconds)


async def retried(ask: Callable[[], Awaitable[Result]], most: int = TRIES) -> Result:
    """What `ask` returns, asked again as long as its failure passes. Raises Unreachable, RegistryError."""
    tries = Tries(most=most)
    while True:
        try:
            return await ask()
        except (Unreachable, RegistryError) as error:
            await tries.pause(error)


def retry_after(text: str) -> float:
    """Seconds that a `Retry-After` header means (RFC 9110, 10.2.3), as a number or a date; 0 for any other text."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = email.utils.parsedate_to_datetime(text[:64])
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
