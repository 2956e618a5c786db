"""Reading ahead of a reader: the same bytes, the same error, and a thread that ends."""

from __future__ import annotations

import io
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosirak.engine.layers.ahead import Ahead


class Source(io.RawIOBase):
    """Gives pieces of these sizes, then ends, or fails."""

    def __init__(self, pieces: list[bytes], error: Exception | None = None) -> None:
        self.pieces, self.error = [piece for piece in pieces if piece], error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        view = memoryview(buffer).cast("B")
        if not self.pieces:
            if self.error is not None:
                raise self.error
            return 0
        piece = self.pieces[0][: len(view)]
        view[: len(piece)] = piece
        self.pieces[0] = self.pieces[0][len(piece) :]
        if not self.pieces[0]:
            self.pieces.pop(0)
        return len(piece)


def thread_is_gone() -> bool:
    deadline = time.monotonic() + 10
    while any(thread.name == "dosirak-ahead" for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3 << 20), max_size=6), st.integers(1, 1 << 20))
def test_what_is_read_is_what_the_source_gives(sizes: list[int], step: int) -> None:
    pieces = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    with Ahead(Source(list(pieces))) as ahead:
        got = bytearray()
        while data := ahead.read(max(step, 4096)):
            got += data
        assert ahead.read(1) == b""
    assert got == b"".join(pieces)


def test_an_error_of_the_source_is_the_readers_after_what_came_before() -> None:
    whole = 2 << 20
    with Ahead(Source([b"a" * whole, b"b" * 10], ValueError("broken"))) as ahead:
        got = bytearray()
        while len(got) < whole + 10:
            got += ahead.read(whole)
        assert got == b"a" * whole + b"b" * 10
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                ahead.read(20)


def test_left_in_the_middle_it_ends_its_thread() -> None:
    with Ahead(Source([bytes(64 << 20)])) as ahead:
        assert len(ahead.read(1000)) == 1000
    assert thread_is_gone()


def test_after_leaving_nothing_touches_the_source() -> None:
    reading, done = threading.Event(), threading.Event()

    class Slow(Source):
        def readinto(self, buffer) -> int:
            reading.set()
            time.sleep(0.2)
            done.set()
            return 0

    with Ahead(Slow([])):
        assert reading.wait(10)
    assert done.is_set()
    assert thread_is_gone()
