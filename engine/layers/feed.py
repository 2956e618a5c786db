"""From the event loop to a thread: an async stream of bytes as a blocking file."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from typing import BinaryIO, TypeVar

Result = TypeVar("Result")


async def consume(chunks: AsyncIterable[bytes], work: Callable[[BinaryIO], Result]) -> Result:
    """Runs `work(file)` in a thread, with `file` reading what `chunks` yields; returns what `work` returns.

    When the stream fails or the task is cancelled, the file's next read raises OSError in the thread, and `consume`
    returns only after the thread is done: `work` can clean up after itself.
    """
    raise NotImplementedError
