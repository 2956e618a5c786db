"""The one loop that moves a foreground container's streams: its output out, our input in, signals on, its end seen.

Runs in the caller's (main) thread, so that in a notebook plain writes appear in the running cell, and ends by itself.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from dosirak.magics.streams.hijack import Frames, Hijacked
from dosirak.magics.streams.interrupts import Interrupts

CHUNK = 65536


class Sink(Protocol):
    """Where a container's output goes."""

    def write(self, stream: int, data: bytes) -> None:
        """Show bytes of stdout (1) or stderr (2)."""

    def close(self) -> None:
        """Show what a cut character or escape sequence held back."""


@dataclass
class Input:
    """What goes to the container's standard input.

    `data` is sent first, `fd` (or None) is then read until it ends; afterwards our half is closed, unless `keep_open`.
    """

    data: bytes = b""
    fd: int | None = None
    keep_open: bool = False


class Pump:
    """Moves the bytes of one attached stream until it ends, or until `done` says so.

    Parameters: `framed` says whether the stream has Docker's headers (no tty). `on_signal(number, count)` is called
    in this thread for each signal, `on_tick()` about once a second and returns True to end the loop.
    `detach_keys`: bytes on the input that end the loop, for terminals.
    """

    def __init__(
        self,
        stream: Hijacked | None,
        sink: Sink,
        interrupts: Interrupts,
        *,
        framed: bool = True,
        source: Input | None = None,
        detach_keys: bytes = b"",
        on_signal: Callable[[int, int], None] = lambda number, count: None,
        on_tick: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stream = stream
        self._sink = sink
        self._interrupts = interrupts
        self._frames = Frames() if framed else None
        self._source = source
        self._pending = memoryview(source.data if source else b"")
        self._keys = detach_keys
        self._matched = 0
        self._open = False
        self._on_signal = on_signal
        self._on_tick = on_tick
        self._selector = selectors.PollSelector()  # epoll has no use for a file, and `< FILE` is one
        self.detached = False

    def run(self, ended: Any = None) -> None:
        """Move bytes until the stream ends and, when given, `ended` (an answer's socket) is readable too."""
        waiting = {"interrupts"}
        self._selector.register(self._interrupts, selectors.EVENT_READ, "interrupts")
        if ended is not None:
            self._selector.register(ended, selectors.EVENT_READ, "ended")
            waiting.add("ended")
        if self._stream is not None:
            self._watch_stream(waiting)
        try:
            while waiting - {"interrupts", "source"} and not self.detached:
                self._step(waiting)
        finally:
            self._selector.close()
            self._sink.close()

    def _watch_stream(self, waiting: set[str]) -> None:
        assert self._stream is not None
        waiting.add("stream")
        self._selector.register(self._stream, selectors.EVENT_READ, "stream")
        self._open = True
        self._aim()
        if self._source and self._source.fd is not None:
            self._selector.register(self._source.fd, selectors.EVENT_READ, "source")
            waiting.add("source")
        elif self._source and not self._pending:
            self._finish_input()
        if self._stream.has_early:
            self._read(waiting)

    def _aim(self) -> None:
        """Wait for the stream to take bytes only while there are some."""
        if not self._open:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._pending else 0)
        self._selector.modify(self._stream, events, "stream")  # type: ignore[arg-type]

    def _step(self, waiting: set[str]) -> None:
        ready = self._selector.select(1.0)
        for key, events in ready:
            if key.data == "interrupts":
                for number in self._interrupts.take():
                    self._on_signal(number, self._interrupts.count)
            elif key.data == "ended":
                self._selector.unregister(key.fileobj)
                waiting.discard("ended")
            elif key.data == "source":
                self._take_input(waiting)
            elif key.data == "stream":
                if events & selectors.EVENT_WRITE:
                    self._write()
                if events & selectors.EVENT_READ:
                    self._read(waiting)
        if self._on_tick():
            self.detached = True

    def _read(self, waiting: set[str]) -> None:
        assert self._stream is not None
        data = self._stream.receive(CHUNK)
        if not data:
            self._selector.unregister(self._stream)
            self._open = False
            waiting.discard("stream")
            return
        if self._frames is None:
            self._sink.write(1, data)
            return
        for stream, piece in self._frames.feed(data):
            self._sink.write(stream, piece)

    def _write(self) -> None:
        assert self._stream is not None
        try:
            sent = self._stream.send_some(self._pending[:CHUNK])
        except (BrokenPipeError, ConnectionResetError):
            sent = len(self._pending)  # it reads no more; its output still comes
        self._pending = self._pending[sent:]
        if not self._pending and self._source and self._source.fd is None:
            self._finish_input()
        self._aim()

    def _finish_input(self) -> None:
        assert self._stream is not None
        if self._source and not self._source.keep_open:
            self._stream.end_input()

    def _take_input(self, waiting: set[str]) -> None:
        assert self._source is not None and self._source.fd is not None
        if self._pending:
            time.sleep(0.001)  # it does not take what it has yet
            return
        data = os.read(self._source.fd, CHUNK)
        if not data:
            self._selector.unregister(self._source.fd)
            waiting.discard("source")
            self._source.fd = None
            self._finish_input()
            return
        self._pending = memoryview(self._without_keys(data))
        if self._pending:
            self._aim()

    def _without_keys(self, data: bytes) -> bytes:
        """Look for the detach keys, also across reads; what has matched so far is held back, as docker does."""
        if not self._keys:
            return data
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.detached = True
                    break
                continue
            passed += self._keys[: self._matched]
            self._matched = 0
            if byte == self._keys[0] and len(self._keys) > 1:
                self._matched = 1
            else:
                passed.append(byte)
        return bytes(passed)
