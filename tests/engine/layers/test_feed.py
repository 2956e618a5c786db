"""From the event loop to a thread, with back pressure, and an end in every case."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import BinaryIO

import pytest

from dosirak.engine.layers.feed import consume


def threads() -> int:
    return sum(thread.name == "dosirak-stream" for thread in threading.enumerate())


async def settled() -> int:
    for _ in range(100):
        if threads() == 0:
            break
        await asyncio.sleep(0.01)
    return threads()


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        await asyncio.sleep(0)
        yield piece


async def test_all_bytes_arrive_in_order() -> None:
    chunks = [bytes([number]) * (number * 1000) for number in range(200)]
    assert await consume(pieces(*chunks, b""), lambda file: file.read()) == b"".join(chunks)


async def test_an_empty_stream_is_an_empty_file() -> None:
    assert await consume(pieces(), lambda file: file.read()) == b""


async def test_a_slow_reader_holds_the_stream_back() -> None:
    handed = 0
    gate = threading.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal handed
        while handed < 100:
            handed += 1
            yield bytes(1 << 20)

    def work(file: BinaryIO) -> int:
        gate.wait(10)
        total = 0
        while data := file.read(1 << 20):
            total += len(data)
        return total

    task = asyncio.ensure_future(consume(endless(), work))
    await asyncio.sleep(0.3)
    assert handed <= 8
    gate.set()
    assert await task == 100 << 20


async def test_a_reader_that_has_enough_leaves_the_rest() -> None:
    closed = False

    async def endless() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            while True:
                yield bytes(1 << 20)
        finally:
            closed = True

    assert await consume(endless(), lambda file: len(file.read(10))) == 10
    await asyncio.sleep(0)
    assert closed


async def test_a_reader_s_error_is_the_caller_s() -> None:
    def work(file: BinaryIO) -> None:
        file.read(1)
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        await consume(pieces(b"abc"), work)


async def test_a_stream_that_breaks_off_ends_the_reader_and_is_the_error() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionResetError("client is gone")

    seen: list[BaseException] = []

    def work(file: BinaryIO) -> bytes:
        try:
            return file.read()
        except OSError as error:
            seen.append(error)
            raise

    with pytest.raises(ConnectionResetError, match="client is gone"):
        await consume(broken(), work)
    assert "broke off" in str(seen[0])
    assert await settled() == 0


async def test_cancelling_waits_for_the_thread_to_clean_up() -> None:
    cleaned = threading.Event()
    begun = threading.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.sleep(60)
        yield b"never"

    def work(file: BinaryIO) -> None:
        try:
            begun.set()
            file.read()
        finally:
            cleaned.set()

    task = asyncio.ensure_future(consume(stalled(), work))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()
    assert await settled() == 0


async def test_many_stalled_streams_do_not_block_other_work() -> None:
    gate = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        await gate.wait()
        yield b"x"

    tasks = [asyncio.ensure_future(consume(stalled(), lambda file: file.read())) for _ in range(40)]
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
    gate.set()
    assert await asyncio.gather(*tasks) == [b"x"] * 40
